"""A server that is started for what it compiles, and ended again: with stand-ins."""

import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from docker_cli import docker
from starting import Starting

from nimctl import settings
from nimctl.core.containers import ContainerSpec, PublishedPort
from nimctl.core.errors import DeadlineError, NimctlError, NotFoundError, ServerDiedError
from nimctl.core.events import Event
from nimctl.core.facts import Artifact, File
from nimctl.core.layout import Layout
from nimctl.core.plan import Await, LaunchContainer
from nimctl.core.refs import ModelRef
from nimctl.core.servers import Server
from nimctl.core.trtllm.kernel_cache import KernelCache, cache_of
from nimctl.serving.docker.engine import DockerEngine
from nimctl.serving.first_start import FirstStart
from nimctl.serving.health import free_ports
from nimctl.tools import Tools
from nimctl.warming import with_kernels


class First:
    """Runs first starts of one container, whose log is kept in `log`."""

    def __init__(self, engine: DockerEngine, spec: ContainerSpec, log: Path) -> None:
        servers = Starting(engine, lambda **_: spec).servers
        self._first, self.spec, self.log = FirstStart(engine, servers), spec, log
        self.events: list[Event] = []

    def run(self, environment: dict[str, str], timeout_s: float = 30) -> NimctlError | None:
        (port,) = self.spec.ports
        server = Server(
            name=self.spec.name,
            model="m",
            reference="m",
            profile="p",
            backend="tensorrt_llm",
            url=f"http://127.0.0.1:{port.host}",
            home="/home/first",
        )
        spec = msgspec.structs.replace(self.spec, environment=environment)
        launch = LaunchContainer(server=server, container=spec, detach=False)
        ready = Await(server=server, timeout_s=timeout_s, until="token")
        return self._first.run(launch, ready, self.log, self.events.append)

    @property
    def is_gone(self) -> bool:
        return docker("ps", "--all", "--quiet", "--filter", f"name={self.spec.name}") == ""


@pytest.fixture
def first(engine: DockerEngine, spec: Callable[..., ContainerSpec], tmp_path: Path) -> First:
    (port,) = free_ports(1)
    made = spec(
        ports=(PublishedPort(container=8000, host=port),),
        tmpfs={"/tmp": 2**20},
        entrypoint=("/bin/serve",),
        command=("once",),
    )
    return First(engine, made, tmp_path / "builds" / "first.log")


def test_it_lives_until_it_has_given_a_token_and_may_finish_what_it_writes(first: First) -> None:
    first.log.parent.mkdir()
    first.log.write_text("what was built before\n")
    assert first.run({}) is None
    assert first.is_gone
    log = first.log.read_text()
    assert log.startswith("what was built before\n$ /bin/serve once\n")
    assert "POST /v1/completions" in log
    # It was asked to end before it was removed.
    assert "stopping" in log


def test_one_that_never_gets_ready_is_given_up(first: First) -> None:
    failure = first.run({"STAND_IN": "hang", "STAND_IN_LOG": "tuning"}, timeout_s=1.5)
    assert isinstance(failure, DeadlineError)
    assert failure.hint is None
    assert "tuning" in first.log.read_text()
    assert first.is_gone


def test_one_that_dies_is_explained_without_a_container_to_look_into(first: First) -> None:
    failure = first.run({"STAND_IN": "exit:1", "STAND_IN_LOG": "CUDA out of memory"})
    assert isinstance(failure, ServerDiedError)
    assert "the GPU's memory ran out" in (failure.cause or "")
    assert "nvidia-smi" in (failure.hint or "")
    assert "nimctl logs" not in (failure.hint or "")
    assert first.is_gone


def test_a_port_that_was_taken_since_it_was_planned_is_left_to_who_has_it(first: First) -> None:
    (port,) = first.spec.ports
    with socket.create_server(("127.0.0.1", port.host)):
        assert first.run({}) is None


def test_a_directory_is_named_by_what_is_known_when_it_is_needed(
    first: First, environ: dict[str, str], layout: Layout
) -> None:
    cache = KernelCache(
        reference="hf://org/model@1",
        image=None,
        model=None,
        gpu="h100_sxm",
        compute_capability="9.0",
        configuration="once",
        indices=(0, 1),
    )
    server = Server(name="n", model="m", reference="m", profile="p", backend="b", url="u")
    launch = LaunchContainer(server=server, container=first.spec, detach=True, cache=cache)
    file = File(path="config.json", url="https://x", size=1, digests={"sha256": "a" * 64})
    pinned = Artifact(reference=cache.reference, files=(file,))
    with Tools(settings.load(environ)) as tools:
        with pytest.raises(NotFoundError, match="is not in the store"):
            with_kernels(launch, tools)
        tools.artifacts.pin(ModelRef.parse(cache.reference), pinned)
        found = with_kernels(launch, tools)
    image = docker("image", "inspect", "--format", "{{.Id}}", first.spec.image)
    key = cache.key(image, pinned.digest or "")
    assert cache_of(found.container) == str(layout.kernels(key, (0, 1)))
    assert found.container.environment["TRITON_CACHE_DIR"] == "/cache/triton"
