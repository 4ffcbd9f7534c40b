"""The first start that `build-engine` gives a server: a real Docker engine that hands out GPUs.

The GPUs are recorded and the image is a stand-in, which writes a file where TensorRT-LLM would
write kernels; commands run in the network of that engine, where its containers' ports are.
"""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from gpu_command import Nimctl
from gpu_engine import GpuEngine
from trtllm_model import NAME, add_model, add_texts
from waiting import until_it_says

from nimctl.core.engine import SIDECAR
from nimctl.core.layout import Layout

BUILD = ("build-engine", NAME, "--precision", "bf16", "--strategy", "pytorch")


def model(environ: dict[str, str], directory: Path, behaviour: str | None = None) -> Path:
    """The model, which any user may read; its checkpoint."""
    add_model(environ, directory, behaviour=behaviour)
    return directory / "checkpoint"


def mounts(container: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """Source, and whether it is read-only, by target."""
    return {
        one["Target"]: (one["Source"], one.get("ReadOnly", False))
        for one in container["HostConfig"]["Mounts"]
    }


def test_a_build_leaves_kernels_that_the_server_finds(
    nimctl: Nimctl, machine: dict[str, str], tmp_path: Path, layout: Layout
) -> None:
    model(machine, tmp_path)
    built = nimctl.run(*BUILD, "--json")
    assert built.code == 0, built
    engine = built.json["engine"]
    warm = engine["warm_up"]
    assert warm["result"] == "warm"
    assert nimctl.containers() == []
    # Where memory may not be locked that is said once, and nothing fails for it.
    warnings = int(nimctl.refuses_memlock())
    assert built.err.count("runs without the ulimit memlock") == warnings
    cache = Path(warm["cache"])
    kernel = (cache / "triton" / "kernel").read_text()
    assert (cache / "autotuner.json").read_text() == kernel
    sidecar = json.loads((layout.engine(engine["key"]) / SIDECAR).read_text())
    assert sidecar["warm_up"] == warm
    assert "compiled /cache/triton/kernel" in layout.build_log(engine["key"]).read_text()

    # Once more does nothing, and the server reads what is there.
    again = nimctl.run(*BUILD, "--json")
    assert again.json["built"] is False
    assert again.json["engine"]["warm_up"] == warm
    assert "warming up tiny-llama: what it compiled is in" in built.err
    assert "warming up" not in again.err
    # The engine of these tests has no network but those that are made for it.
    argv = ("serve", NAME, "--precision", "bf16", "--detach", "--port", "auto", "--offline")
    served = nimctl.run(*argv)
    assert served.code == 0, served
    assert served.err.count("runs without the ulimit memlock") == warnings
    container = nimctl.inspected()
    assert mounts(container)["/cache"] == (str(cache), False)
    assert "found /cache/triton/kernel" in nimctl.log(container["Id"])
    assert (cache / "triton" / "kernel").read_text() == kernel
    assert nimctl.run("stop", "--all").code == 0

    # They go with what they are for, wherever that is linked to, and not to other machines.
    archive = str(tmp_path / "engine.tar")
    assert nimctl.run("engines", "export", engine["key"][:12], archive).code == 0
    assert nimctl.run("engines", "rm", engine["key"][:12]).code == 0
    assert not cache.exists()
    assert list((layout.root / "model-store").rglob(SIDECAR)) == []
    assert nimctl.run("engines", "import", archive).code == 0
    (imported,) = nimctl.run("engines", "--json").json["engines"]
    assert imported["engine"]["key"] == engine["key"]
    assert imported["engine"]["warm_up"] is None


def test_the_warm_up_is_the_server_with_the_chosen_gpus_and_no_way_out(
    nimctl: Nimctl, machine: dict[str, str], tmp_path: Path, layout: Layout
) -> None:
    model(machine, tmp_path, "serve-hang")
    child = nimctl.start(*BUILD, "--tp", "2")
    until_it_says(child, "tiny-llama: warming up")
    container = nimctl.inspected()
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert nimctl.containers() == []

    host, config = container["HostConfig"], container["Config"]
    (request,) = host["DeviceRequests"]
    plan = nimctl.run(*BUILD, "--tp", "2", "--dry-run", "--json").json
    (step,) = [step for step in plan["steps"] if step["type"] == "WarmUp"]
    spec = step["launch"]["container"]
    assert request["DeviceIDs"] == spec["devices"]["uuids"]
    assert len(request["DeviceIDs"]) == 2
    assert config["Entrypoint"] == ["trtllm-serve"]
    assert config["Cmd"] == spec["command"]
    assert host["NetworkMode"] == "nimctl-offline"
    assert host["IpcMode"] == "host"
    assert host["CapDrop"] == ["ALL"]
    (bindings,) = host["PortBindings"].values()
    assert [one["HostIp"] for one in bindings] == ["127.0.0.1"]
    environment = dict(one.split("=", 1) for one in config["Env"])
    assert environment["TLLM_AUTOTUNER_CACHE_PATH"] == "/cache/autotuner.json"
    assert not [name for name in environment if "KEY" in name or "TOKEN" in name]
    given = mounts(container)
    assert given[f"/models/{NAME}"][1]
    assert given["/etc/nimctl/llm-options.yaml"][1]
    assert given["/cache"] == (
        next(one["source"] for one in spec["mounts"] if one["target"] == "/cache"),
        False,
    )
    assert Path(given["/cache"][0]).is_relative_to(layout.root / "caches")
    # What was built before is there, and cold.
    (built,) = nimctl.run("engines", "--json").json["engines"]
    assert built["engine"]["warm_up"] is None


def test_of_a_quantised_checkpoint_that_is_what_is_started(
    nimctl: Nimctl, machine: dict[str, str], tmp_path: Path, layout: Layout
) -> None:
    model(machine, tmp_path)
    texts = add_texts(tmp_path)
    texts.chmod(0o644)
    asked = ("build-engine", NAME, "--precision", "fp8", "--strategy", "pytorch")
    built = nimctl.run(*asked, "--calib", str(texts), "--json")
    assert built.json["engine"]["warm_up"]["result"] == "warm", built
    serve = ("serve", NAME, "--precision", "fp8", "--port", "auto", "--dry-run", "--json")
    (step,) = [one for one in nimctl.run(*serve).json["steps"] if one["type"] == "LaunchContainer"]
    given = {one["target"]: one["source"] for one in step["container"]["mounts"]}
    assert given[f"/models/{NAME}"].endswith("/trtllm_engine/checkpoint")
    assert given["/cache"] == built.json["engine"]["warm_up"]["cache"]
    # What it was linked to goes with it, though its sidecar was written anew since.
    assert list((layout.root / "model-store").rglob(SIDECAR)) != []
    assert nimctl.run("engines", "rm", built.json["engine"]["key"][:12]).code == 0
    assert list((layout.root / "model-store").rglob(SIDECAR)) == []


def test_a_checkpoint_that_comes_quantised_is_served_with_what_was_built_for_it(
    nimctl: Nimctl, machine: dict[str, str], tmp_path: Path
) -> None:
    checkpoint = model(machine, tmp_path)
    (checkpoint / "hf_quant_config.json").write_text("{}")
    catalogue = Path(machine["HOME"]) / ".config" / "nimctl" / "profiles" / f"{NAME}.yaml"
    catalogue.write_text(catalogue.read_text().replace("build: true", "runtime: pytorch"))
    asked = ("build-engine", NAME, "--precision", "fp8", "--strategy", "pytorch")
    built = nimctl.run(*asked, "--max-batch-size", "16", "--json")
    assert built.code == 0, built
    files = {file["path"] for file in built.json["engine"]["files"]}
    assert files == {"llm-options.yaml"}
    argv = ("serve", NAME, "--precision", "fp8", "--detach", "--port", "auto", "--offline")
    served = nimctl.run(*argv)
    assert served.code == 0, served
    container = nimctl.inspected()
    given = mounts(container)
    assert given["/cache"][0] == built.json["engine"]["warm_up"]["cache"]
    options = json.loads(Path(given["/etc/nimctl/llm-options.yaml"][0]).read_text())
    assert options["max_batch_size"] == 16
    assert "found /cache/triton/kernel" in nimctl.log(container["Id"])


def test_a_server_that_dies_fails_no_build_and_is_told(
    nimctl: Nimctl, machine: dict[str, str], tmp_path: Path, layout: Layout
) -> None:
    model(machine, tmp_path, "serve-die")
    built = nimctl.run(*BUILD, "--json")
    assert built.code == 0, built
    assert "WARNING: the warm-up failed; what was built is kept" in built.err
    assert "the GPU's memory ran out" in built.err
    assert "torch.OutOfMemoryError: CUDA out of memory" in built.err
    engine = built.json["engine"]
    assert f"nimctl engines log {engine['key'][:12]}" in built.err
    assert engine["warm_up"]["result"] == "failed"
    assert "torch.OutOfMemoryError" in engine["warm_up"]["cause"]
    sidecar = json.loads((layout.engine(engine["key"]) / SIDECAR).read_text())
    assert sidecar["warm_up"] == engine["warm_up"]
    assert "torch.OutOfMemoryError" in layout.build_log(engine["key"]).read_text()
    assert nimctl.containers() == []
    # It is tried again, as nothing is warm yet.
    again = nimctl.run(*BUILD)
    assert again.code == 0
    assert "already built, its warm-up failed" in again.out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_warm_up_that_was_ended_leaves_no_container_for_long(
    nimctl: Nimctl, machine: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    checkpoint = model(machine, tmp_path, "serve-hang")
    child = nimctl.start(*BUILD)
    until_it_says(child, "tiny-llama: warming up")
    child.send_signal(number)
    child.communicate(timeout=60)
    if number == signal.SIGTERM:
        assert child.returncode == 143
        assert nimctl.containers() == []
        return
    # Nobody was left to remove it: it is a server that can be seen and stopped, until the next.
    name = nimctl.inspected()["Name"].strip("/")
    assert name in nimctl.run("ps").out
    (checkpoint / "stand-in.txt").write_text("")
    built = nimctl.run(*BUILD, "--json")
    assert built.json["engine"]["warm_up"]["result"] == "warm", built
    assert nimctl.containers() == []


def test_without_a_warm_up_nothing_is_started(
    nimctl: Nimctl, machine: dict[str, str], tmp_path: Path, layout: Layout
) -> None:
    model(machine, tmp_path, "serve-die")
    built = nimctl.run(*BUILD, "--no-warm-up", "--json")
    assert built.code == 0, built
    assert built.json["engine"]["warm_up"] is None
    assert not (layout.root / "caches").exists()


def test_kernels_of_a_server_go_when_it_is_gone_and_that_is_asked_for(
    nimctl: Nimctl, machine: dict[str, str], tmp_path: Path, layout: Layout
) -> None:
    model(machine, tmp_path)
    assert nimctl.run(*BUILD, "--no-warm-up").code == 0
    argv = ("serve", NAME, "--precision", "bf16", "--detach", "--port", "auto", "--offline")
    assert nimctl.run(*argv, "--name", "mine").code == 0
    (kernels,) = (layout.root / "caches").iterdir()
    assert nimctl.run("prune", "--kernels", "--json").json["kernels"] == []
    assert nimctl.run("stop", "mine").code == 0
    assert nimctl.run("prune", "--kernels", "--json").json["kernels"] == []
    assert nimctl.run("rm", "--server", "mine").code == 0
    assert nimctl.run("prune", "--json").json["kernels"] == []
    counted = nimctl.run("prune", "--kernels", "--dry-run", "--json").json
    assert counted["kernels"] == [str(kernels)]
    assert counted["bytes_freed"] > 0
    assert nimctl.run("prune", "--kernels").out.startswith("0 files, 0 unfinished downloads, kern")
    assert not kernels.exists()


def test_the_printed_lines_fill_the_same_directory(
    nimctl: Nimctl, machine: dict[str, str], tmp_path: Path, gpu_engine: GpuEngine
) -> None:
    model(machine, tmp_path)
    # The digest of the model is a part of the directory's name.
    assert nimctl.run("pull", NAME).code == 0
    planned = nimctl.run(*BUILD, "--dry-run")
    assert planned.code == 0, planned
    # Docker's limits cannot be lifted where these tests run, and root lends no directories here.
    script = planned.out.replace("--ulimit memlock=-1:-1", "").replace("1000:1000", "0:0")
    done = subprocess.run(
        [*gpu_engine.network, "bash", "-c", script], env=machine, capture_output=True, check=False
    )
    assert done.returncode == 0, done
    assert nimctl.containers() == []
    (kernel,) = Path(machine["NIMCTL_HOME"]).rglob("kernel")
    built = nimctl.run(*BUILD, "--json").json
    assert kernel.is_relative_to(built["engine"]["warm_up"]["cache"])
