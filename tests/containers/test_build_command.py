"""`nimctl build-engine` from argv to engine: a real Docker engine that hands out GPUs.

The GPUs are recorded, the engine's hook does nothing, and the image is a stand-in that takes what
TensorRT-LLM's programs take; everything else is as on a machine with eight H100.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import recorded
from conftest import Run, words
from gpu_engine import GpuEngine
from trtllm_model import NAME, add_model, add_texts
from waiting import until_it_says

from nimctl.core.layout import Layout
from nimctl.core.trtllm.releases import BUILDER_IMAGE

BF16 = ("build-engine", NAME, "--precision", "bf16")


def start(environ: dict[str, str], *argv: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "nimctl", *argv],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def containers(engine: GpuEngine) -> str:
    return engine.docker("ps", "--all", "--quiet").stdout.decode()


def engines(layout: Layout) -> list[str]:
    return [path.name for path in (layout.root / "engines").glob("*")]


def test_an_engine_is_built_once_and_found_again(
    run: Run, machine: dict[str, str], layout: Layout, tmp_path: Path, gpu_engine: GpuEngine
) -> None:
    add_model(machine, tmp_path)
    first = run(*BF16, "--json")
    assert first.code == 0, first
    built = first.json
    assert built["built"] is True
    assert "strategy tensorrt: TensorRT-LLM 1.2.1 builds engines" in first.err
    assert "building tiny-llama: build (2 of 2)" in first.err
    assert "building tiny-llama: writing rank0" in first.err
    engine = built["engine"]
    assert engine["image"].startswith("sha256:")
    assert engine["recipe"]["gpu"] == "h100_sxm"
    assert {file["path"] for file in engine["files"]} == {"config.json", "rank0.engine"}
    directory = layout.engine(engine["key"])
    assert {path.name for path in directory.iterdir()} == {
        *("config.json", "rank0.engine", "engine.json"),
    }
    assert {path.stat().st_uid for path in directory.iterdir()} == {os.getuid()}
    again = run(*BF16, "--json")
    assert again.json["built"] is False
    assert f"strategy prebuilt: the engine {engine['key'][:12]} is in the store" in again.err
    assert "docker" not in again.err
    assert containers(gpu_engine) == ""
    log = run("engines", "log", engine["key"][:12]).out
    assert "$ trtllm-build --checkpoint_dir /work/trtllm_checkpoint" in log


def test_the_engine_is_listed_with_what_it_is_for(
    run: Run, machine: dict[str, str], tmp_path: Path
) -> None:
    add_model(machine, tmp_path)
    run(*BF16, "--tp", "2")
    shown = run("engines").out
    assert "tensorrt_llm bf16" in shown
    assert "tp2" in shown
    assert "h100_sxm" in shown
    assert "tensorrt_llm 1.2.1" in shown


def test_quantised_with_local_texts(run: Run, machine: dict[str, str], tmp_path: Path) -> None:
    add_model(machine, tmp_path)
    texts = add_texts(tmp_path)
    texts.chmod(0o644)
    built = run("build-engine", NAME, "--precision", "fp8", "--calib", texts, "--json")
    assert built.code == 0, built
    assert built.json["engine"]["recipe"]["kv_cache"] == "fp8"
    log = run("engines", "log", built.json["engine"]["key"][:12]).out
    assert "quantize.py: error" not in log
    assert "--qformat fp8" in log


def test_without_an_engine_there_is_a_checkpoint_with_options_for_the_gpu(
    run: Run, machine: dict[str, str], tmp_path: Path, layout: Layout
) -> None:
    add_model(machine, tmp_path)
    texts = add_texts(tmp_path)
    texts.chmod(0o644)
    argv = ("build-engine", NAME, "--precision", "fp8", "--strategy", "pytorch", "--calib", texts)
    built = run(*argv, "--max-batch-size", "16", "--no-warm-up", "--json")
    assert built.code == 0, built
    engine = built.json["engine"]
    assert engine["recipe"]["strategy"] == "pytorch"
    paths = {file["path"] for file in engine["files"]}
    assert {"checkpoint/hf_quant_config.json", "checkpoint/model.safetensors"} <= paths
    options = json.loads((layout.engine(engine["key"]) / "llm-options.yaml").read_text())
    assert options["max_batch_size"] == 16
    assert options["kv_cache_config"]["dtype"] == "fp8"


def test_an_image_of_another_release_is_built_beside(
    run: Run, machine: dict[str, str], tmp_path: Path, gpu_engine: GpuEngine
) -> None:
    add_model(machine, tmp_path)
    other = "own.test/nvidia/tensorrt-llm/release:1.3.0rc15"
    gpu_engine.docker("tag", BUILDER_IMAGE, other)
    usual = run(*BF16, "--json").json["engine"]
    newer = run(*BF16, "--image", other, "--json").json["engine"]
    assert newer["recipe"]["tensorrt_version"] == "10.15.1"
    assert newer["key"] != usual["key"]


@pytest.mark.parametrize(
    ("behaviour", "code", "said"),
    [
        ("fail", 11, ["convert of tiny-llama failed", "RuntimeError"]),
        ("oom", 11, ["the GPU's memory ran out", "CUDA out of memory"]),
        ("killed", 11, ["was killed", "the host's memory ran out"]),
        ("nothing", 11, ["ended well and left no engine"]),
    ],
)
def test_a_failed_build_leaves_nothing_and_says_why(
    run: Run,
    machine: dict[str, str],
    tmp_path: Path,
    layout: Layout,
    gpu_engine: GpuEngine,
    behaviour: str,
    code: int,
    said: list[str],
) -> None:
    add_model(machine, tmp_path, behaviour=behaviour)
    result = run(*BF16)
    assert result.code == code, result
    words(result, *said, str(layout.root / "builds"))
    # Docker may not lift this limit where these tests run: told, and no reason for the failure.
    assert result.err.count("runs without the ulimit memlock") == 1
    assert "without the ulimit" not in result.err.partition("error: ")[2]
    assert engines(layout) == []
    assert containers(gpu_engine) == ""
    (log,) = (layout.root / "builds").iterdir()
    assert run("engines", "log", log.name[:12]).out == log.read_text()


def test_a_full_disk_ends_with_its_own_status(
    run: Run, machine: dict[str, str], tmp_path: Path, gpu_engine: GpuEngine, small_disk: Path
) -> None:
    add_model(machine, tmp_path, behaviour="fill")
    texts = {"NIMCTL_HOME": str(small_disk)}
    result = run(*BF16, env=texts)
    # Two MiB are too few for the checkpoint already: it is refused before anything runs.
    assert result.code == 12, result
    assert containers(gpu_engine) == ""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_cancelled_build_leaves_nothing_and_no_container(
    machine: dict[str, str],
    tmp_path: Path,
    layout: Layout,
    gpu_engine: GpuEngine,
    number: signal.Signals,
    status: int,
) -> None:
    add_model(machine, tmp_path, behaviour="hang")
    child = start(machine, *BF16)
    until_it_says(child, "convert (1 of 2)")
    while containers(gpu_engine) == "":
        assert child.poll() is None
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    assert child.returncode == status, err
    assert engines(layout) == []
    assert containers(gpu_engine) == ""


@pytest.mark.parametrize("other", [(), ("--max-batch-size", "8")], ids=["same", "other"])
def test_the_container_of_a_nimctl_that_was_killed_goes_with_the_next_build(
    machine: dict[str, str],
    tmp_path: Path,
    layout: Layout,
    gpu_engine: GpuEngine,
    other: tuple[str, ...],
) -> None:
    add_model(machine, tmp_path, behaviour="hang")
    child = start(machine, *BF16)
    while containers(gpu_engine) == "":
        assert child.poll() is None
    child.kill()
    child.communicate()
    left = containers(gpu_engine)
    assert left
    # The next one hangs as well, in a container of its own.
    again = start(machine, *BF16, *other)
    until_it_says(again, "convert (1 of 2)")
    while left.strip() in containers(gpu_engine) or containers(gpu_engine) == "":
        assert again.poll() is None
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)
    assert containers(gpu_engine) == ""
    assert engines(layout) == []


def pruned(machine: dict[str, str]) -> str:
    """What pruning has said: of a container that it could not remove, why."""
    with start(machine, "engines", "prune", "--max-size", "1TiB") as child:
        _, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    return err


def test_pruning_ends_builds_whose_nimctl_was_killed_and_no_others(
    machine: dict[str, str], tmp_path: Path, gpu_engine: GpuEngine
) -> None:
    add_model(machine, tmp_path, behaviour="hang")
    child = start(machine, *BF16)
    while containers(gpu_engine) == "":
        assert child.poll() is None
    pruned(machine)
    assert containers(gpu_engine)
    child.kill()
    child.communicate()
    pruned({**machine, "NIMCTL_HOME": str(tmp_path / "elsewhere")})
    assert containers(gpu_engine)
    # A busy engine may not get it done in its time; then that is said, and tried again.
    tries = (pruned(machine) for _ in range(10))
    said = next((one for one in tries if "may be left" not in one), "it was tried ten times")
    assert containers(gpu_engine) == "", said


def test_two_builds_of_one_engine_build_it_once(
    machine: dict[str, str], tmp_path: Path, layout: Layout
) -> None:
    add_model(machine, tmp_path, behaviour="slow")
    children = [start(machine, *BF16, "--json") for _ in range(2)]
    outcomes = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0, 0], outcomes
    built = [json.loads(out)["built"] for out, _ in outcomes]
    assert sorted(built) == [False, True]
    assert len(engines(layout)) == 1


def test_several_profiles_go_on_after_one_that_fails(
    run: Run, machine: dict[str, str], tmp_path: Path
) -> None:
    add_model(machine, tmp_path)
    # Without texts the middle one cannot be.
    profiles = "tensorrt_llm-bf16-tp1-pp1,tensorrt_llm-fp8-tp1-pp1,tensorrt_llm-bf16-tp2-pp1"
    stopped = run("build-engine", NAME, "--profiles", profiles)
    assert stopped.code == 2
    words(stopped, "needs calibration data")
    result = run("build-engine", NAME, "--profiles", profiles, "--keep-going", "--json")
    assert result.code == 11
    words(result, "1 of 3 builds failed", "tensorrt_llm-fp8-tp1-pp1")
    report = json.loads(result.out)
    assert [one["built"] for one in report["builds"]] == [False, True]
    assert [one["profile"] for one in report["failed"]] == ["tensorrt_llm-fp8-tp1-pp1"]


def test_an_engine_for_another_gpu_is_refused_with_the_field_that_differs(
    run: Run, machine: dict[str, str], tmp_path: Path
) -> None:
    add_model(machine, tmp_path)
    key = run(*BF16, "--json").json["engine"]["key"]
    archive = tmp_path / "engine.tar"
    assert run("engines", "export", key[:12], archive).code == 0
    elsewhere = {
        "NIMCTL_HOME": str(tmp_path / "elsewhere"),
        "PATH": f"{recorded.install('rtx-4090-display', tmp_path / 'other')}:{machine['PATH']}",
    }
    assert run("engines", "import", archive, env=elsewhere).code == 0
    result = run(*BF16, "--strategy", "prebuilt", env=elsewhere)
    assert result.code == 7, result
    words(
        result,
        f"the engine {key[:12]} is not for this: its compute capability is 9.0, needed is 8.9",
        f"nimctl build-engine {NAME}",
    )


def test_an_engine_with_larger_limits_is_taken_where_prebuilt_is_asked_for(
    run: Run, machine: dict[str, str], tmp_path: Path
) -> None:
    add_model(machine, tmp_path)
    key = run(*BF16, "--max-batch-size", "64", "--json").json["engine"]["key"]
    asked = ("--max-batch-size", "16", "--strategy", "prebuilt", "--json")
    taken = run(*BF16, *asked)
    assert taken.code == 0, taken
    assert taken.json["engine"]["key"] == key
    assert taken.json["built"] is False


@pytest.mark.parametrize(
    ("asked", "output"),
    [
        (("--precision", "bf16"), "rank0.engine"),
        (("--precision", "bf16", "--tp", "2"), "rank1.engine"),
        (("--precision", "fp8"), "rank0.engine"),
        (
            ("--precision", "fp8", "--strategy", "pytorch", "--no-warm-up"),
            "checkpoint/model.safetensors",
        ),
    ],
    ids=["bf16", "tp2", "fp8", "pytorch"],
)
def test_the_printed_commands_make_the_same_engine(
    run: Run, machine: dict[str, str], tmp_path: Path, asked: tuple[str, ...], output: str
) -> None:
    # Neither a shell nor `docker --mount` takes these as they are.
    directory = tmp_path / 'it\'s, a "home"'
    directory.mkdir()
    add_model(machine, tmp_path)
    texts = add_texts(directory)
    texts.chmod(0o644)
    there = {"NIMCTL_HOME": str(directory / "nimctl")}
    argv = ("build-engine", NAME, *asked, *(("--calib", texts) if "fp8" in asked else ()))
    planned = run(*argv, "--dry-run", env=there)
    assert planned.code == 0, planned
    # Docker's limits cannot be lifted where these tests run.
    script = planned.out.replace("--ulimit memlock=-1:-1", "")
    done = subprocess.run(["bash", "-c", script], env=machine, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    (engine,) = (one for one in directory.rglob(output) if "trtllm_engine" in one.parts)
    size = engine.stat().st_size
    built = run(*argv, "--json", env=there)
    assert built.code == 0, built
    sizes = {file["path"]: file["size"] for file in built.json["engine"]["files"]}
    assert size == sizes[output]


def test_the_chosen_gpus_are_handed_to_the_builder(
    run: Run, machine: dict[str, str], tmp_path: Path, gpu_engine: GpuEngine
) -> None:
    add_model(machine, tmp_path, behaviour="hang")
    child = start(machine, *BF16, "--tp", "2")
    while (identifier := containers(gpu_engine).strip()) == "":
        assert child.poll() is None
    inspected = gpu_engine.docker("inspect", identifier.splitlines()[0]).stdout
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    (container,) = json.loads(inspected)
    (request,) = container["HostConfig"]["DeviceRequests"]
    plan = run(*BF16, "--tp", "2", "--dry-run", "--json").json
    (job,) = [step["job"] for step in plan["steps"] if step["type"] == "Build"]
    assert request["DeviceIDs"] == job["devices"]["uuids"]
    assert len(request["DeviceIDs"]) == 2
    assert container["HostConfig"]["NetworkMode"] == "none"
    assert not [one for one in container["Config"]["Env"] if "KEY" in one or "TOKEN" in one]
