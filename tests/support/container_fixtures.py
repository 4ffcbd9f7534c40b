"""The real Docker engine, stand-in images of this run, and no container left behind."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docker_cli import LABEL, RUN, docker
from stand_in_image import make_image

from nimctl import settings
from nimctl.core.containers import ContainerSpec
from nimctl.serving.docker.endpoints import endpoints
from nimctl.serving.docker.engine import DockerEngine


@pytest.fixture(scope="session")
def docker_runs() -> None:
    done = subprocess.run(["docker", "info"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("the Docker engine does not run: dockerd >/tmp/dockerd.log 2>&1 &")


@pytest.fixture(scope="session")
def image(docker_runs: None) -> Iterator[str]:  # noqa: ARG001 - it skips
    """A stand-in under a name of NVIDIA's registry."""
    yield from _made("nvcr.io/nim/meta/stand-in")


@pytest.fixture(scope="session")
def foreign_image(docker_runs: None) -> Iterator[str]:  # noqa: ARG001 - it skips
    """The same for another architecture, as far as the kernel can tell."""
    yield from _made("nvcr.io/nim/meta/foreign", architecture="arm64")


@pytest.fixture(scope="session")
def unhealthy_image(docker_runs: None) -> Iterator[str]:  # noqa: ARG001 - it skips
    """A stand-in whose own check fails."""
    yield from _made("nvcr.io/nim/meta/unhealthy", health="false")


CPU_IMAGE = "nimctl/llama-cpp:latest"


@pytest.fixture(scope="session")
def cpu_image(docker_runs: None) -> str:  # noqa: ARG001 - it skips
    """The image of the CPU backend; made if the engine does not have it."""
    if not docker("images", "--quiet", CPU_IMAGE):
        build = Path(__file__).parent.parent.parent / "tools" / "cpu_image" / "build.py"
        subprocess.run([sys.executable, build], check=True)
    return CPU_IMAGE


def _made(name: str, *, architecture: str = "amd64", health: str | None = None) -> Iterator[str]:
    reference = f"{name}:{RUN}"
    labels = {"com.nvidia.nim.version": "1.8.6"}
    make_image(reference, architecture=architecture, labels=labels, health=health)
    yield reference
    docker("rmi", "--force", reference)


@pytest.fixture
def engine(
    environ: dict[str, str],
    docker_runs: None,  # noqa: ARG001 - it skips
) -> Iterator[DockerEngine]:
    """The adapter, as the settings of a new user make it."""
    made = DockerEngine(endpoints(settings.load(environ).container_engine))
    yield made
    made.close()


@pytest.fixture
def spec(image: str, request: pytest.FixtureRequest) -> Iterator[Callable[..., ContainerSpec]]:
    """Makes specs of the stand-in whose containers are removed after the test."""
    made: list[str] = []

    def make(**fields: object) -> ContainerSpec:
        name = f"{RUN}-{len(made)}-{abs(hash(request.node.nodeid)) % 10**8}"
        made.append(name)
        values = {"name": name, "image": image, "labels": {LABEL: name}, **fields}
        made.append(str(values["name"]))
        return ContainerSpec(**values)  # type: ignore[arg-type]

    yield make
    subprocess.run(
        ["docker", "rm", "--force", "--volumes", *made], capture_output=True, check=False
    )
