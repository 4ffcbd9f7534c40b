"""Replicas of a NIM on GPUs: which profile they get, and how they are replaced where they are.

The GPUs are recorded, the NIM is a stand-in, the engine that hands out the GPUs is a real one.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import recorded
import yaml
from conftest import Result
from gpu_engine import GpuEngine
from stand_in_image import make_image
from trtllm_model import ARCHITECTURE

from nimctl import settings
from nimctl.core.containers import Container, ContainerState
from nimctl.core.nim_manifest import MANIFEST_PATHS
from nimctl.serving.claims import came_first

CATALOGUE = f"""\
schema_version: 1
name: tiny
family: llm
title: A small model
license: Apache-2.0
{ARCHITECTURE}  class_name: LlamaForCausalLM
variants: []
nim:
  image: nvcr.io/nim/test/tiny:1
  source: https://docs.nvidia.com/nim/
  ports: {{http: 8000}}
"""
ONE_GPU, OTHER, TWO_GPUS = "1a" * 32, "1b" * 32, "2a" * 32
NAME = "group"


def profile(id_: str, tp: int, target: str, file: Path) -> dict[str, Any]:
    tags = {"llm_engine": "tensorrt_llm", "gpu": "H100", "gpu_device": "2330:10de", "pp": "1",
            "tp": str(tp), "precision": "fp8", "profile": target}  # fmt: skip
    return {"id": id_, "tags": tags, "workspace": {"files": {"config.json": {"uri": str(file)}}}}


class Machine:
    """Two H100 of a DGX, the engine that hands them out, and the command line."""

    def __init__(self, environ: dict[str, str], engine: GpuEngine, directory: Path) -> None:
        self._engine, self._smi = engine, directory / "smi"
        self._recording = directory / "dgx"
        shutil.copytree(recorded.DIRECTORY / "dgx-h100", self._recording)
        recorded.install_of(self._recording, self._smi)
        path = f"{self._smi}:{environ['PATH']}"
        self._environ = {**environ, **engine.environment, "PATH": path}

    def fill_gpus(self) -> None:
        """All of their memory is in use, as once a server has its cache."""
        answer = self._recording / "q-x.xml"
        full = answer.read_text().replace("<used>0 MiB<", "<used>80000 MiB<")
        answer.write_text(full.replace("<free>81008 MiB<", "<free>1008 MiB<"))

    def nimctl(self, *argv: str) -> Result:
        done = subprocess.run(
            [*self._engine.network, sys.executable, "-m", "nimctl", *argv],
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def inspected(self, name: str) -> tuple[str, str, list[str]]:
        """Image, pinned profile and GPUs of a container."""
        (found,) = json.loads(self._engine.docker("inspect", name).stdout)
        environment = dict(one.split("=", 1) for one in found["Config"]["Env"])
        (request,) = found["HostConfig"]["DeviceRequests"]
        return found["Config"]["Image"], environment["NIM_MODEL_PROFILE"], request["DeviceIDs"]

    def close(self) -> None:
        self.nimctl("stop", "--all", "--time", "1")
        left = self._engine.docker("ps", "--all", "--quiet").stdout.decode().split()
        if left:
            self._engine.docker("rm", "--force", *left)


@pytest.fixture
def machine(environ: dict[str, str], gpu_engine: GpuEngine, tmp_path: Path) -> Iterator[Machine]:
    profiles = Path(settings.load(environ).profiles_directory)
    profiles.mkdir(parents=True)
    (profiles / "tiny.yaml").write_text(CATALOGUE)
    # Of a path that others may read, since the container runs as another user than root.
    with tempfile.TemporaryDirectory(prefix="nimctl-nim-") as cache:
        Path(cache).chmod(0o755)
        environ["LOCAL_NIM_CACHE"] = f"{cache}/nim"
        file = tmp_path / "config.json"
        file.write_text("{}")
        first = [profile(ONE_GPU, 1, "throughput", file), profile(TWO_GPUS, 2, "latency", file)]
        # The next release has other ids.
        second = [profile(OTHER, 1, "throughput", file), *first[1:]]
        for tag, known in (("1", first), ("2", second)):
            manifest = yaml.safe_dump({"schema_version": "2.0", "profiles": known}).encode()
            make_image(
                f"nvcr.io/nim/test/tiny:{tag}",
                labels={"com.nvidia.nim.version": "1.8.6"},
                host=gpu_engine.url,
                files={MANIFEST_PATHS[0]: manifest},
            )
        made = Machine(environ, gpu_engine, tmp_path)
        yield made
        made.close()


def test_replicas_are_replaced_on_the_gpus_that_they_fill(machine: Machine) -> None:
    served = machine.nimctl(
        *("serve", "tiny", "--backend", "nim", "--replicas", "auto", "--gpus", "device=0,1"),
        *("--detach", "--port", "auto", "--name", NAME, "--offline", "--wait", "ready"),
    )
    assert served.code == 0, served
    # The NIM itself would run one server on both of them.
    before = [machine.inspected(f"{NAME}-{number}") for number in (1, 2)]
    assert [(image, pinned) for image, pinned, _ in before] == [
        ("nvcr.io/nim/test/tiny:1", ONE_GPU)
    ] * 2
    assert sorted(len(gpus) for *_, gpus in before) == [1, 1]
    told = machine.nimctl("inspect", f"{NAME}-1").json["server"]
    assert told["reason"].startswith("GPUs of a replica: 1 before 2")
    assert "nvcr.io/nim/test/tiny:1 on GPU 0" in told["plan"]

    machine.fill_gpus()
    changed = machine.nimctl("update", NAME, "-e", "MARK=1")
    assert changed.code == 0, changed
    assert [machine.inspected(f"{NAME}-{number}") for number in (1, 2)] == before

    newer = machine.nimctl("update", NAME, "--image", "nvcr.io/nim/test/tiny:2")
    assert newer.code == 0, newer
    after = [machine.inspected(f"{NAME}-{number}") for number in (1, 2)]
    assert after == [("nvcr.io/nim/test/tiny:2", OTHER, gpus) for *_, gpus in before]

    wrong = machine.nimctl("update", NAME, "--profile", TWO_GPUS)
    assert (wrong.code, after) == (
        7,
        [machine.inspected(f"{NAME}-{number}") for number in (1, 2)],
    )


def test_a_nim_gets_a_profile_for_the_gpus_that_it_sees(machine: Machine) -> None:
    argv = ("serve", "tiny", "--backend", "nim", "--port", "auto", "--dry-run", "--json")
    for gpus, pinned in (("device=1", ONE_GPU), ("device=0,1", TWO_GPUS)):
        (launch,) = [
            step["container"]
            for step in machine.nimctl(*argv, "--gpus", gpus).json["steps"]
            if step["type"] == "LaunchContainer"
        ]
        assert launch["environment"]["NIM_MODEL_PROFILE"] == pinned
        assert len(launch["devices"]["uuids"]) == len(gpus.split(","))


def test_servers_that_start_at_one_moment_do_not_get_the_same_gpu(machine: Machine) -> None:
    names = ("one", "two", "three")
    argv = ("serve", "tiny", "--backend", "nim", "--gpus", "device=0", "--detach", "--offline")

    def serve(name: str) -> Result:
        return machine.nimctl(*argv, "--port", "auto", "--wait", "ready", "--name", name)

    with ThreadPoolExecutor(len(names)) as pool:
        codes = [one.code for one in pool.map(serve, names)]
    assert sorted(codes) == [0, 7, 7]
    (served,) = (name for name, code in zip(names, codes, strict=True) if code == 0)
    listed = machine.nimctl("ps", "--all", "--json").json["servers"]
    assert [one["name"] for one in listed] == [served]


@pytest.mark.parametrize(
    ("status", "older_s", "is_taken"),
    [
        ("running", 5, True),
        ("running", 3600, True),
        ("created", 5, True),
        # Left behind by a command that was killed.
        ("created", 3600, False),
        ("exited", 5, False),
        # The other one gives way.
        ("created", -1, False),
    ],
)
def test_the_older_container_has_the_gpu(
    status: Literal["running", "created", "exited"], older_s: int, *, is_taken: bool
) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def container(name: str, status: str, created: datetime) -> Container:
        state = ContainerState(status=status)  # type: ignore[arg-type]
        return Container(id=name, name=name, image="i", labels={}, state=state,
                         created=created.isoformat(), gpus=("GPU-0",))  # fmt: skip

    mine = container("mine", "created", now)
    other = container("other", status, now - timedelta(seconds=older_s))
    assert came_first(other, mine) is is_taken
