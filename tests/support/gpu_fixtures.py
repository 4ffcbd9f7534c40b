"""A machine with eight H100 whose Docker engine hands them out; the builder's image is there."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import recorded
from builder_image import make_builder_image
from gpu_command import Nimctl
from gpu_engine import GpuEngine

from nimctl.core.trtllm.releases import BUILDER_IMAGE


@pytest.fixture(scope="module")
def gpu_engine(docker_runs: None) -> Iterator[GpuEngine]:  # noqa: ARG001 - it skips
    # Not pytest's directory, whose path is too long for a socket.
    engine = GpuEngine(Path(tempfile.mkdtemp(prefix="nimctl-gpu-")))
    try:
        engine.start()
        make_builder_image(BUILDER_IMAGE, engine.url)
        yield engine
    finally:
        engine.stop()


@pytest.fixture
def h100(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with eight H100 and no container engine."""
    smi = recorded.install("dgx-h100", tmp_path / "smi")
    environ.update({"PATH": f"{smi}:{environ['PATH']}", "DOCKER_HOST": "unix:///nowhere.sock"})
    return environ


@pytest.fixture
def machine(gpu_engine: GpuEngine, environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with eight H100 and that engine."""
    smi = recorded.install("dgx-h100", tmp_path / "smi")
    environ.update({**gpu_engine.environment, "PATH": f"{smi}:{environ['PATH']}"})
    return environ


@pytest.fixture
def nimctl(machine: dict[str, str], gpu_engine: GpuEngine) -> Iterator[Nimctl]:
    made = Nimctl(machine, gpu_engine)
    yield made
    made.run("stop", "--all")
    left = gpu_engine.docker("ps", "--all", "--quiet").stdout.decode().split()
    if left:
        gpu_engine.docker("rm", "--force", *left)
