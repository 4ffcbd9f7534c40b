"""`nimctl serve --backend nim`: a profile of the NIM itself, pinned, brought by nimctl."""

from pathlib import Path

import pytest
from conftest import Run, steps, words
from test_pull_profile import ENGINE_ID, VLLM_ID, manifest, write
from test_pull_profile import ngc as ngc_standin

ngc = ngc_standin
NIM = ("serve", "llama-3.1-8b-instruct", "--backend", "nim", "--dry-run", "--port", "auto")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path, manifest())


@pytest.mark.usefixtures("ngc")
@pytest.mark.parametrize(("gpu", "pinned"), [("a100_sxm_80gb", ENGINE_ID), ("h100_sxm", VLLM_ID)])
def test_the_profile_that_the_nim_would_choose_is_brought_and_pinned(
    run: Run, file: Path, gpu: str, pinned: str
) -> None:
    plan = run(*NIM, "--manifest", file, "--gpu", gpu, "--json").json
    *_, launch, ready = plan["steps"]
    assert set(steps(plan)[:-2]) == {"PullImage", "Fetch", "FillCache"}
    environment = launch["container"]["environment"]
    assert environment["NIM_MODEL_PROFILE"] == pinned
    assert environment["NIM_DISABLE_MODEL_DOWNLOAD"] == "1"
    assert launch["container"]["secrets"] == []
    assert launch["registry_key_file"] is None
    assert ready["until"] == "token"


@pytest.mark.usefixtures("ngc")
@pytest.mark.parametrize(
    ("gpus", "pinned", "device"), [("device=0", ENGINE_ID, 0), ("device=1", VLLM_ID, 1)]
)
def test_the_profile_is_for_the_gpu_that_was_asked_for_on_a_mixed_machine(
    run: Run, file: Path, gpus: str, pinned: str, device: int
) -> None:
    mixed = ("--gpu", "a100_sxm_80gb", "--gpu", "h100_sxm", "--gpus", gpus)
    launch = run(*NIM, "--manifest", file, *mixed, "--json").json["steps"][-2]["container"]
    assert launch["environment"]["NIM_MODEL_PROFILE"] == pinned
    assert launch["devices"]["uuids"] == [f"GPU-planned-{device}"]


@pytest.mark.usefixtures("ngc")
def test_one_that_does_not_run_on_the_gpu_is_refused(run: Run, file: Path) -> None:
    argv = (*NIM, "--manifest", file, "--gpu", "h100_sxm", "--profile", ENGINE_ID)
    refused = run(*argv)
    assert refused.code == 7
    words(refused, "does not run on this machine", "A100")


@pytest.mark.usefixtures("ngc")
def test_one_that_is_named_is_taken_and_one_that_is_not_there_is_told(run: Run, file: Path) -> None:
    argv = (*NIM, "--manifest", file, "--gpu", "a100_sxm_80gb", "--json")
    plan = run(*argv, "--profile", VLLM_ID[:12]).json
    assert plan["steps"][-2]["container"]["environment"]["NIM_MODEL_PROFILE"] == VLLM_ID
    absent = run(*argv, "--profile", "ffffffffff")
    assert absent.code == 3
    words(absent, "ffffffffff")


@pytest.mark.usefixtures("ngc")
def test_the_cache_that_is_filled_is_the_one_that_is_mounted(
    run: Run, file: Path, tmp_path: Path
) -> None:
    plan = run(*NIM, "--manifest", file, "--gpu", "a100_sxm_80gb", "--json").json
    (mount,) = plan["steps"][-2]["container"]["mounts"]
    assert mount["source"] == str(tmp_path / "cache")
    assert mount["target"] == "/opt/nim/.cache"
    assert not mount["read_only"]


@pytest.mark.parametrize("backend", ["nim", "vllm", "tensorrt_llm"])
def test_what_no_gpu_here_could_run_is_refused_before_a_registry_is_asked(
    run: Run, backend: str
) -> None:
    result = run("serve", "llama-3.1-8b-instruct", "--backend", backend, "--port", "auto")
    assert result.code == 7
    words(result, "does not run on this machine", "list-profiles")
