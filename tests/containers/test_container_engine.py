"""The adapter against a real engine: images, containers, logs, files."""

import contextlib
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from docker_cli import LABEL, docker
from registry_daemon import PASSWORD, USER, RegistryDaemon
from stand_in_image import MANIFEST

from nimctl.core.containers import ContainerSpec, Devices, PublishedPort, RegistryLogin, Secret
from nimctl.core.errors import (
    AuthError,
    ContainerEngineError,
    LimitRefusedError,
    NetworkError,
    NotFoundError,
    UsageError,
)
from nimctl.core.events import Event, Finished, Progressed, Started
from nimctl.serving.docker.engine import DockerEngine

Spec = Callable[..., ContainerSpec]


def ignore(_: object) -> None:
    """Take an event or a line and do nothing."""


def logged(engine: DockerEngine, name: str, **options: Any) -> list[str]:
    with contextlib.closing(engine.log(name, **options)) as log:
        return list(log)


def test_the_engine_says_what_it_is(engine: DockerEngine) -> None:
    described = engine.describe()
    assert described.kind == "docker"
    assert described.version == docker("version", "--format", "{{.Server.Version}}")
    assert described.architecture == docker("version", "--format", "{{.Server.Arch}}")
    assert described.rootless is False
    root = Path(docker("info", "--format", "{{.DockerRootDir}}"))
    assert described.disk_free_bytes is not None
    assert 0 < described.disk_free_bytes < shutil.disk_usage(root).total


def test_an_image_is_described_without_running_it(engine: DockerEngine, image: str) -> None:
    found = engine.image(image)
    assert found is not None
    assert found.architecture == "amd64"
    assert found.labels["com.nvidia.nim.version"] == "1.8.6"
    assert found.user == "1000"
    assert found.entrypoint == ("/bin/serve",)
    assert found.size > 10**6
    assert found.id == docker("image", "inspect", "--format", "{{.Id}}", image)


def test_an_image_that_is_not_there_is_none(engine: DockerEngine) -> None:
    assert engine.image("nvcr.io/nim/no/such:1") is None


def test_files_are_read_from_an_image_through_links(engine: DockerEngine, image: str) -> None:
    link = "/opt/nim/etc/manifest.yaml"
    assert engine.read_files(image, [link, "/nowhere.yaml", "/opt/nim", "/bin"]) == {link: MANIFEST}
    left = docker("ps", "--all", "--filter", f"ancestor={image}", "--format", "{{.Names}}")
    assert "nimctl-read-" not in left


def test_files_of_an_image_that_is_not_there(engine: DockerEngine) -> None:
    with pytest.raises(NotFoundError, match="does not have the image"):
        engine.read_files("nvcr.io/nim/no/such:1", ["/x"])


def test_a_container_runs_to_its_end_with_its_lines_and_is_gone(
    engine: DockerEngine, spec: Spec
) -> None:
    lines: list[str] = []
    one = spec(command=("--model", "x y"), environment={"STAND_IN": "exit:3"})
    state = engine.run(one, lines.append)
    assert (state.exit_code, state.status) == (3, "exited")
    assert lines == ["argv: --model x y", "about to end"]
    assert engine.container(one.name) is None


def test_a_run_that_is_interrupted_leaves_no_container(engine: DockerEngine, spec: Spec) -> None:
    one = spec(environment={"STAND_IN": "hang"})

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run(one, interrupt)
    assert engine.container(one.name) is None


def test_lines_come_while_the_container_runs(engine: DockerEngine, spec: Spec) -> None:
    one = spec(environment={"STAND_IN": "hang"})
    engine.start(engine.create(one))
    log = engine.log(one.name, follow=True)
    assert next(iter(log)) == "argv: "
    found = engine.container(one.name)
    assert found
    assert found.state.is_running
    log.close()


def test_a_container_lives_through_create_start_stop_and_remove(
    engine: DockerEngine, spec: Spec
) -> None:
    one = spec(environment={"STAND_IN": "hang"})
    assert engine.container(one.name) is None
    engine.create(one)
    created = engine.container(one.name)
    assert created
    assert created.state.status == "created"
    assert created.state.started is None
    engine.start(one.name)
    waited: list[int] = []
    waiter = threading.Thread(target=lambda: waited.append(engine.wait(one.name)))
    waiter.start()
    assert engine.stop(one.name, grace_s=10) is True
    waiter.join()
    assert waited == [0]
    assert logged(engine, one.name, tail=1) == ["stopping"]
    engine.remove(one.name)
    engine.remove(one.name)
    assert engine.container(one.name) is None


def test_what_ignores_a_stop_is_killed(engine: DockerEngine, spec: Spec) -> None:
    one = spec(entrypoint=("/bin/sleep",), command=("600",), init=False)
    engine.start(engine.create(one))
    assert engine.stop(one.name, grace_s=1) is False


def test_containers_are_found_by_label_also_when_they_have_ended(
    engine: DockerEngine, spec: Spec
) -> None:
    one, other = spec(environment={"STAND_IN": "hang"}), spec()
    for made in (one, other):
        engine.create(made)
    engine.start(one.name)
    assert [c.name for c in engine.containers({LABEL: one.name})] == [one.name]
    found = {c.name: c.state.status for c in engine.containers({LABEL: None})}
    assert found[one.name] == "running"
    assert found[other.name] == "created"


def test_what_a_container_uses(engine: DockerEngine, spec: Spec) -> None:
    one = spec(environment={"STAND_IN": "hang"})
    engine.create(one)
    assert engine.usage(one.name) is None
    assert engine.usage("no-such-container") is None
    engine.start(one.name)
    usage = engine.usage(one.name)
    assert usage
    assert 2**14 < usage.memory_bytes < 2**28
    assert usage.read_bytes >= 0


def test_lines_since_a_time(engine: DockerEngine, spec: Spec) -> None:
    one = spec(environment={"STAND_IN": "exit:0"})
    engine.start(engine.create(one))
    engine.wait(one.name)
    assert logged(engine, one.name, since_s=time.time() + 60) == []
    assert len(logged(engine, one.name, since_s=0)) == 2


def test_a_name_that_is_taken(engine: DockerEngine, spec: Spec) -> None:
    one = spec()
    engine.create(one)
    with pytest.raises(UsageError, match="name is taken"):
        engine.create(one)


def test_a_port_that_is_taken(engine: DockerEngine, spec: Spec) -> None:
    first = spec(ports=(PublishedPort(container=8000, host=0),), environment={"STAND_IN": "hang"})
    engine.start(engine.create(first))
    port = int(docker("port", first.name, "8000").rpartition(":")[2])
    second = spec(ports=(PublishedPort(container=8000, host=port),))
    engine.create(second)
    with pytest.raises(UsageError, match="port is taken") as caught:
        engine.start(second.name)
    assert "--port" in (caught.value.hint or "")


def test_a_program_that_is_not_in_the_image(engine: DockerEngine, spec: Spec) -> None:
    one = spec(entrypoint=("trtllm-serve",), init=False)
    engine.create(one)
    with pytest.raises(UsageError, match="not in the image") as caught:
        engine.start(one.name)
    assert "--image" in (caught.value.hint or "")


def test_an_image_that_the_engine_lacks(engine: DockerEngine, spec: Spec) -> None:
    with pytest.raises(NotFoundError, match="does not have the image"):
        engine.create(spec(image="nvcr.io/nim/no/such:1"))


def test_a_gpu_without_the_toolkit(engine: DockerEngine, spec: Spec) -> None:
    one = spec(devices=Devices(uuids=("GPU-0",)))
    engine.create(one)
    with pytest.raises(ContainerEngineError, match="NVIDIA GPUs") as caught:
        engine.start(one.name)
    assert "nvidia-container-toolkit" in (caught.value.hint or "")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_file_that_others_can_read_is_refused(
    engine: DockerEngine, spec: Spec, tmp_path: Path, mode: int
) -> None:
    file = tmp_path / "key"
    file.write_text("open sesame")
    file.chmod(mode)
    with pytest.raises(UsageError, match="read by others") as caught:
        engine.create(spec(secrets=(Secret(name="api-key", source=str(file)),)))
    assert caught.value.hint == f"chmod 600 {file}"


def test_a_key_file_that_the_container_could_not_read_is_refused(
    engine: DockerEngine, spec: Spec, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.touch(0o600)
    secret = Secret(name="api-key", source=str(file))
    with pytest.raises(UsageError, match="read in the container"):
        engine.create(spec(secrets=(secret,), user="4711:4711"))
    with pytest.raises(UsageError, match="cannot be read"):
        engine.create(spec(secrets=(Secret(name="api-key", source="/no/such"),)))


def test_a_pull_shows_layers_and_says_what_came(
    engine: DockerEngine, image: str, tmp_path: Path
) -> None:
    with RegistryDaemon(tmp_path) as daemon:
        reference = f"{daemon.host}/nim/stand-in:1.8.6"
        docker("tag", image, reference)
        docker("push", "--quiet", reference)
        docker("rmi", reference)
        events: list[Event] = []
        assert engine.image(reference) is None
        found = engine.pull(reference, events.append)
        try:
            assert found.digests[0].startswith(f"{daemon.host}/nim/stand-in@sha256:")
            assert events[0] == Started(task="image", title=f"pulling {reference}")
            assert events[-1] == Finished(task="image")
            by_digest = engine.pull(found.digests[0], ignore)
            assert by_digest.id == found.id
        finally:
            docker("rmi", "--force", reference)
        with pytest.raises(NotFoundError, match="there is no image"):
            engine.pull(f"{daemon.host}/nim/stand-in:9", ignore)
    with pytest.raises(NetworkError, match="failed"):
        engine.pull(reference, ignore)


def test_the_bytes_of_a_layer_are_counted(engine: DockerEngine, tmp_path: Path) -> None:
    with RegistryDaemon(tmp_path) as daemon:
        reference = f"{daemon.host}/nim/large:1"
        _large_image(reference)
        docker("push", "--quiet", reference)
        docker("rmi", reference)
        events: list[Event] = []
        engine.pull(reference, events.append)
        docker("rmi", reference)
    layers = [one for one in events if isinstance(one, Started) and one.parent == "image"]
    assert layers
    assert layers[0].total
    assert layers[0].total > 3 * 2**20
    done = [one.done for one in events if isinstance(one, Progressed)]
    assert done == sorted(done)
    assert Finished(task=layers[0].task) in events


def _large_image(reference: str) -> None:
    # Incompressible, so that the layer is as large as the file and takes a moment.
    script = (
        "cd $(mktemp -d) && head -c 4194304 /dev/urandom >x && tar c x | docker import - "
        + reference
    )
    subprocess.run(["sh", "-c", script], check=True, capture_output=True)


def test_a_registry_that_wants_a_password(engine: DockerEngine, image: str, tmp_path: Path) -> None:
    with RegistryDaemon.with_password(tmp_path) as daemon:
        reference = f"{daemon.host}/nim/closed:1"
        docker("tag", image, reference)
        login = ["login", "--username", USER, "--password-stdin", daemon.host]
        subprocess.run(
            ["docker", "--config", str(tmp_path / "docker"), *login],
            input=PASSWORD,
            text=True,
            check=True,
            capture_output=True,
        )
        docker("--config", str(tmp_path / "docker"), "push", "--quiet", reference)
        docker("rmi", reference)
        with pytest.raises(AuthError, match="does not give out"):
            engine.pull(reference, ignore)
        right = RegistryLogin(username=USER, password=PASSWORD)
        wrong = RegistryLogin(username=USER, password=PASSWORD[::-1])
        with pytest.raises(AuthError, match="does not give out"):
            engine.pull(reference, ignore, login=wrong)
        assert PASSWORD not in repr(right)
        assert engine.pull(reference, ignore, login=right).id
        docker("rmi", reference)


def test_a_limit_that_the_engine_may_not_lift_is_an_error_of_its_own(
    engine: DockerEngine, spec: Spec
) -> None:
    # Beyond the kernel's own bound, which no engine may lift.
    bound = int(Path("/proc/sys/fs/nr_open").read_text())
    with pytest.raises(LimitRefusedError, match="may not lift this limit"):
        engine.run(spec(ulimits={"nofile": bound + 1}), ignore)
