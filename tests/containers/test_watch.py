"""Servers in containers that start well or badly, seen from who waits for them."""

import gc
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docker_cli import RUN, docker
from starting import Starting

from nimctl.core.containers import ContainerSpec, Devices, Mount, PublishedPort, Secret
from nimctl.core.errors import (
    ContainerEngineError,
    DeadlineError,
    HardwareError,
    NimctlError,
    NotFoundError,
    ServerDiedError,
    UsageError,
)
from nimctl.core.events import Noted, Reached
from nimctl.core.plan import Await
from nimctl.core.servers import Server
from nimctl.serving.docker.endpoints import Endpoint
from nimctl.serving.docker.engine import DockerEngine
from nimctl.serving.watch import Watch

REFUSED = (
    "The engine plan file is generated on an incompatible device, expecting compute 9.0 got "
    "compute 8.9, please rebuild."
)


@pytest.fixture
def starting(engine: DockerEngine, spec: Callable[..., ContainerSpec]) -> Iterator[Starting]:
    made = Starting(engine, spec)
    yield made
    made.servers.stop_launched()


def test_a_server_is_ready_when_it_answers(starting: Starting) -> None:
    server = starting.launch(environment={"STAND_IN_DELAY": "0.3"})
    starting.wait(server)
    found = starting.servers.find(server.name)
    assert (found.state, found.url, found.image) == ("ready", server.url, image_of(server))
    assert starting.servers.running() == {server.name: server.url}


def image_of(server: Server) -> str:
    return docker("inspect", "--format", "{{.Config.Image}}", server.name)


def test_ready_by_a_token_asks_for_one(starting: Starting) -> None:
    server = starting.launch()
    starting.wait(server, until="token")
    log = docker("logs", server.name)
    assert 'POST /v1/completions {"model": "stand-in", "prompt": "Hello", "max_tokens": 1}' in log


def test_a_server_without_completions_is_asked_to_chat(starting: Starting) -> None:
    server = starting.launch(environment={"STAND_IN_CHAT": "only"})
    starting.wait(server, until="token")
    assert "POST /v1/chat/completions" in docker("logs", server.name)


def test_a_server_that_gives_no_token_is_not_ready(starting: Starting) -> None:
    server = starting.launch(environment={"STAND_IN_NO_TOKEN": "1"})
    failure = starting.fails(server, until="token", timeout_s=1.5)
    assert isinstance(failure, DeadlineError)


def test_the_token_is_asked_for_with_the_key(starting: Starting, tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    secret = Secret(name="api-key", source=str(key_file))
    server = starting.launch(secrets=(secret,), user="1000:1000", generate_api_key=True)
    assert key_file.stat().st_mode & 0o777 == 0o600
    starting.wait(server, until="token")
    key = key_file.read_text().strip()
    assert len(key) > 40
    assert key not in docker("inspect", server.name)
    assert key not in docker("logs", server.name)


def test_nothing_is_waited_for_if_nothing_is_asked_for(starting: Starting) -> None:
    server = starting.launch(environment={"STAND_IN": "hang"})
    starting.wait(server, until="none")
    assert starting.servers.is_running(server.name)


@pytest.mark.parametrize("status", [0, 1, 143])
def test_an_end_before_ready_is_a_failure_whatever_its_status(
    starting: Starting, status: int
) -> None:
    server = starting.launch(
        environment={"STAND_IN": f"exit:{status}", "STAND_IN_LOG": "loading|KeyError: 'lm_head'"}
    )
    failure = starting.fails(server)
    assert isinstance(failure, ServerDiedError)
    assert f"exit status {status}" in failure.message
    assert failure.cause == "KeyError: 'lm_head'"
    assert failure.hint == f"nimctl logs {server.name}"
    # Kept, so that its log can be read.
    assert starting.servers.find(server.name).state == "exited"
    assert starting.servers.find(server.name).exit_code == status
    starting.servers.remove(server.name)
    with pytest.raises(NotFoundError):
        starting.servers.find(server.name)


def test_a_later_end_is_seen_as_well(starting: Starting) -> None:
    server = starting.launch(environment={"STAND_IN": "exit:2", "STAND_IN_DELAY": "1"})
    assert "exit status 2" in starting.fails(server).message


def test_a_restart_before_ready_is_a_failure(starting: Starting) -> None:
    server = starting.launch(
        environment={"STAND_IN": "exit:1", "STAND_IN_DELAY": "0.1"}, restart="unless-stopped"
    )
    failure = starting.fails(server)
    assert isinstance(failure, ServerDiedError)
    assert "ended" in failure.message
    starting.servers.stop_launched()
    assert starting.servers.is_running(server.name) is False


def test_a_server_that_uses_too_much_memory(starting: Starting) -> None:
    server = starting.launch(environment={"STAND_IN": "oom"}, memory_limit_bytes=32 * 2**20)
    failure = starting.fails(server)
    assert isinstance(failure, ServerDiedError)
    # An engine may miss why the kernel killed it, but not that it did.
    assert "memory" in failure.message


def test_an_image_for_another_architecture(starting: Starting, foreign_image: str) -> None:
    failures: list[NimctlError] = []
    for init in (True, False):
        try:
            server = starting.launch(image=foreign_image, init=init)
        except HardwareError as error:
            failures.append(error)
        else:
            failures.append(starting.fails(server))
    assert [type(failure) for failure in failures] == [HardwareError, HardwareError]
    assert all("another architecture" in failure.message for failure in failures)


def test_an_unhealthy_server(starting: Starting, unhealthy_image: str) -> None:
    server = starting.launch(image=unhealthy_image, environment={"STAND_IN": "hang"})
    failure = starting.fails(server)
    assert isinstance(failure, ServerDiedError)
    assert "unhealthy" in failure.message


def test_a_log_that_says_it_is_over_ends_the_wait_although_the_server_lives(
    starting: Starting,
) -> None:
    server = starting.launch(
        backend="tensorrt_llm", environment={"STAND_IN": "hang", "STAND_IN_LOG": f"[TRT] {REFUSED}"}
    )
    failure = starting.fails(server)
    assert isinstance(failure, ServerDiedError)
    assert "cannot become ready" in failure.message
    assert "built for compute capability 9.0, this GPU has 8.9" in (failure.cause or "")
    assert REFUSED in (failure.cause or "")
    assert "nimctl build-engine llama-3.1-8b-instruct" in (failure.hint or "")


def test_a_container_that_is_removed_meanwhile(starting: Starting) -> None:
    server = starting.launch(environment={"STAND_IN": "hang"})
    threading.Timer(0.5, docker, ["rm", "--force", server.name]).start()
    failure = starting.fails(server)
    assert isinstance(failure, ServerDiedError)
    assert "removed" in failure.message or "ended" in failure.message


def test_a_server_that_is_silent_is_given_up(starting: Starting) -> None:
    server = starting.launch(environment={"STAND_IN": "hang", "STAND_IN_LOG": "loading"})
    failure = starting.fails(server, timeout_s=1)
    assert isinstance(failure, DeadlineError)
    assert failure.cause == "argv:\n  loading"
    starting.servers.stop_launched()
    assert starting.servers.find(server.name).state == "exited"


def test_a_server_that_goes_on_loading_gets_more_time(starting: Starting) -> None:
    server = starting.launch(environment={"STAND_IN_DELAY": "3", "STAND_IN_TICK": "0.2"})
    starting.wait(server, timeout_s=1, limit_s=60)
    assert starting.servers.find(server.name).state == "ready"


def test_there_is_an_end_to_that_too(starting: Starting) -> None:
    server = starting.launch(environment={"STAND_IN_DELAY": "60", "STAND_IN_TICK": "0.2"})
    failure = starting.fails(server, timeout_s=0.5, limit_s=1.5)
    assert isinstance(failure, DeadlineError)


def test_phases_are_told_as_they_come(starting: Starting) -> None:
    lines = "Preparing model workspace. This|[TRT] [I] Loaded engine size: 1 MiB|[Autotuner] "
    lines += "Autotuning process starts ...|[Autotuner] Autotuning process ends"
    server = starting.launch(environment={"STAND_IN_LOG": lines, "STAND_IN_DELAY": "0.5"})
    starting.wait(server)
    assert starting.events == [
        Reached(task="ready", stage="downloading what the image lacks"),
        Reached(task="ready", stage="preparing the engine"),
        Reached(task="ready", stage="warming up"),
    ]


def test_a_long_silence_is_broken_by_the_last_line(
    starting: Starting, engine: DockerEngine
) -> None:
    server = starting.launch(environment={"STAND_IN_LOG": "reading shard 7", "STAND_IN_DELAY": "1"})
    step = Await(server=server, timeout_s=60)
    Watch(engine, step, starting.events.append, silence_s=0.3).wait()
    stages = [one.stage for one in starting.events if isinstance(one, Reached)]
    assert [one for one in stages if one.endswith(" s so far; reading shard 7")]


def test_a_gpu_without_the_toolkit_leaves_no_container(
    starting: Starting, engine: DockerEngine
) -> None:
    with pytest.raises(ContainerEngineError, match="NVIDIA GPUs"):
        starting.launch(devices=Devices(uuids=("GPU-0",)))
    names = docker("ps", "--all", "--format", "{{.Names}}").split()
    assert not [name for name in names if name.startswith(f"{RUN}-")]
    assert engine.describe().offers_gpus is False


def test_a_port_that_is_taken_leaves_no_container(starting: Starting) -> None:
    first = starting.launch()
    port = int(first.url.rpartition(":")[2])
    with pytest.raises(UsageError, match="port is taken"):
        starting.launch(ports=(PublishedPort(container=8000, host=port),))
    assert list(starting.servers.running()) == [first.name]


def test_a_limit_that_the_engine_may_not_lift_is_left_out_and_that_is_said_once(
    starting: Starting,
) -> None:
    # Beyond the kernel's own bound, which no engine may lift.
    bound = int(Path("/proc/sys/fs/nr_open").read_text())
    servers = [
        starting.launch(ulimits={"nofile": bound + 1, "stack": 1048576}, name=f"{RUN}-limit-{one}")
        for one in range(2)
    ]
    for server in servers:
        starting.wait(server)
        limits = docker("inspect", "--format", "{{json .HostConfig.Ulimits}}", server.name)
        assert [one["Name"] for one in json.loads(limits)] == ["stack"]
    (said,) = [event.message for event in starting.events if isinstance(event, Noted)]
    assert said.startswith(f"WARNING: {RUN}-limit-0 runs without the ulimit nofile: ")


def test_a_name_that_runs_is_refused_and_one_that_has_ended_gives_way(starting: Starting) -> None:
    first = starting.launch()
    with pytest.raises(UsageError, match=f"runs already at {first.url}"):
        starting.launch(name=first.name)
    starting.servers.stop(first.name, 5)
    second = starting.launch(name=first.name)
    starting.wait(second)
    assert list(starting.servers.running()) == [first.name]


def test_a_container_of_somebody_else_is_left_alone(starting: Starting, image: str) -> None:
    name = f"{RUN}-stranger"
    docker("create", "--name", name, image)
    try:
        with pytest.raises(UsageError, match=r"container .* already"):
            starting.launch(name=name)
        with pytest.raises(NotFoundError):
            starting.servers.stop(name, 1)
        assert name not in starting.servers.names()
    finally:
        docker("rm", name)


def test_a_writable_mount_belongs_to_the_containers_user(
    starting: Starting, tmp_path: Path
) -> None:
    cache = tmp_path / "new" / "cache"
    mount = Mount(source=str(cache), target="/opt/nim/.cache", read_only=False)
    server = starting.launch(
        mounts=(mount,),
        user="1000:1000",
        entrypoint=("/bin/sh", "-c"),
        command=("touch /opt/nim/.cache/x && exec /bin/serve",),
    )
    starting.wait(server)
    assert (cache / "x").exists()


# The SDK leaves a socket unclosed whose connection is refused; it is collected in the fixture.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_engine_that_goes_away_while_one_waits(
    starting: Starting, engine_behind_a_door: "Door"
) -> None:
    engine, door = engine_behind_a_door.engine, engine_behind_a_door
    behind = Starting(engine, starting._spec)  # noqa: SLF001 - the same cleaning up
    server = behind.launch(environment={"STAND_IN": "hang"})
    threading.Timer(0.5, door.shut).start()
    failure = behind.fails(server)
    assert isinstance(failure, ContainerEngineError)
    assert "engine" in failure.message
    assert failure.exit_code == 8
    behind.servers.stop_launched()


class Door:
    """HAProxy between an adapter and the engine, which can be shut."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "door.sock"
        config = directory / "door.cfg"
        config.write_text(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n"
            f"listen door\n bind unix@{self.socket}\n server engine unix@/var/run/docker.sock\n"
        )
        self._process = subprocess.Popen(["haproxy", "-f", str(config), "-db"])
        while not self.socket.exists():
            assert self._process.poll() is None
            time.sleep(0.01)
        self.engine = DockerEngine([Endpoint(url=f"unix://{self.socket}", said_by="test")])

    def shut(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def engine_behind_a_door(tmp_path: Path) -> Iterator[Door]:
    door = Door(tmp_path)
    yield door
    door.engine.close()
    door.shut()
    del door
    gc.collect()
