"""What a container is created with, read back from the engine."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker_cli import docker

from nimctl.core.containers import (
    OFFLINE_NETWORK,
    ContainerSpec,
    Devices,
    Mount,
    PublishedPort,
    Secret,
)
from nimctl.serving.docker.engine import DockerEngine

Spec = Callable[..., ContainerSpec]
KEY = "nvapi-very-secret"


def inspected(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("inspect", name))[0]
    return found


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(KEY + "\n")
    return path


def test_a_container_is_closed_unless_told_otherwise(engine: DockerEngine, spec: Spec) -> None:
    one = spec(
        user="1000:1000", ports=(PublishedPort(container=8000, host=8123),), tmpfs={"/tmp": 2**20}
    )
    engine.create(one)
    found = inspected(one.name)
    host = found["HostConfig"]
    assert found["Config"]["User"] == "1000:1000"
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Privileged"] is False
    assert host["ReadonlyRootfs"] is True
    assert host["Tmpfs"] == {"/tmp": "rw,nosuid,nodev,size=1048576,mode=1777"}
    assert host["PidsLimit"] == 4096
    assert host["PortBindings"] == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8123"}]}
    assert host["LogConfig"] == {
        "Type": "json-file",
        "Config": {"max-size": str(50 * 2**20), "max-file": "3"},
    }
    assert host["RestartPolicy"]["Name"] == "no"
    assert host["NetworkMode"] == "bridge"
    assert host["Init"] is True
    assert host["AutoRemove"] is False


def test_limits_are_those_that_were_asked_for(engine: DockerEngine, spec: Spec) -> None:
    one = spec(
        memory_limit_bytes=2**28,
        pids_limit=100,
        shm_bytes=2**30,
        ipc="host",
        ulimits={"memlock": -1, "stack": 67108864},
        cpuset="0",
        numa_nodes="0",
        restart="unless-stopped",
    )
    engine.create(one)
    host = inspected(one.name)["HostConfig"]
    assert (host["Memory"], host["MemorySwap"]) == (2**28, 2**28)
    assert host["PidsLimit"] == 100
    assert (host["ShmSize"], host["IpcMode"]) == (2**30, "host")
    assert host["Ulimits"] == [
        {"Name": "memlock", "Hard": -1, "Soft": -1},
        {"Name": "stack", "Hard": 67108864, "Soft": 67108864},
    ]
    assert (host["CpusetCpus"], host["CpusetMems"]) == ("0", "0")
    assert host["RestartPolicy"]["Name"] == "unless-stopped"


@pytest.mark.parametrize(
    ("devices", "request_"),
    [
        (
            Devices(uuids=("GPU-5a0e", "GPU-5a0f")),
            {"Driver": "nvidia", "DeviceIDs": ["GPU-5a0e", "GPU-5a0f"], "Capabilities": [["gpu"]]},
        ),
        (
            Devices(uuids=("MIG-c6d4",)),
            {"Driver": "nvidia", "DeviceIDs": ["MIG-c6d4"], "Capabilities": [["gpu"]]},
        ),
        (
            Devices(uuids=("GPU-5a0e", "MIG-c6d4"), method="cdi"),
            {
                "Driver": "cdi",
                "DeviceIDs": ["nvidia.com/gpu=GPU-5a0e", "nvidia.com/gpu=MIG-c6d4"],
                "Capabilities": None,
            },
        ),
    ],
)
def test_gpus_are_asked_for_by_uuid(
    engine: DockerEngine, spec: Spec, devices: Devices, request_: dict[str, Any]
) -> None:
    one = spec(devices=devices)
    engine.create(one)
    found = inspected(one.name)
    assert found["HostConfig"]["DeviceRequests"] == [{"Count": 0, "Options": {}} | request_] or (
        found["HostConfig"]["DeviceRequests"] == [{"Count": 0, "Options": None} | request_]
    )
    assert not [one for one in found["Config"]["Env"] if "CUDA" in one or "NVIDIA" in one]
    seen = engine.container(one.name)
    assert seen
    assert seen.gpus == devices.uuids


def test_a_secret_reaches_the_process_and_nothing_else(
    engine: DockerEngine, spec: Spec, key_file: Path
) -> None:
    uid = os.getuid()
    script = 'echo "length ${#NGC_API_KEY}"; cd /run/secrets; stat -c "%a %n" ngc; wc -c <keys'
    one = spec(
        entrypoint=("/bin/sh", "-c"),
        command=(script,),
        user=f"{uid}:{uid}",
        secrets=(
            Secret(name="ngc", source=str(key_file), variable="NGC_API_KEY"),
            Secret(name="keys", source=str(key_file)),
        ),
    )
    engine.start(engine.create(one))
    engine.wait(one.name)
    expected = [f"length {len(KEY)}", "600 ngc", str(len(KEY) + 1)]
    with contextlib.closing(engine.log(one.name)) as log:
        assert list(log) == expected
    assert KEY not in docker("inspect", one.name)
    assert "NGC_API_KEY=" not in docker("inspect", "--format", "{{json .Config.Env}}", one.name)
    mounts = {mount["Destination"]: mount["RW"] for mount in inspected(one.name)["Mounts"]}
    assert mounts == {"/run/secrets/ngc": False, "/run/secrets/keys": False}


def test_a_secret_goes_before_the_images_own_entrypoint(
    engine: DockerEngine, spec: Spec, key_file: Path
) -> None:
    secret = Secret(name="ngc", source=str(key_file), variable="STAND_IN_LOG")
    one = spec(
        command=("--model", "m"),
        environment={"STAND_IN": "exit:0"},
        secrets=(secret,),
        user=str(os.getuid()),
    )
    lines: list[str] = []
    state = engine.run(one, lines.append)
    assert state.exit_code == 0
    assert lines == ["argv: --model m", KEY, "about to end"]


def test_a_model_cannot_be_written_and_nothing_else_but_tmp(
    engine: DockerEngine, spec: Spec, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    script = "for d in /models / /etc /tmp; do touch $d/x 2>/dev/null && echo $d; done; id -u"
    one = spec(
        entrypoint=("/bin/sh", "-c"),
        command=(script,),
        mounts=(Mount(source=str(tmp_path / "model"), target="/models"),),
        tmpfs={"/tmp": 2**20},
        user="0:0",
    )
    lines: list[str] = []
    engine.run(one, lines.append)
    assert lines == ["/tmp", "0"]


@pytest.fixture
def outside() -> Iterator[str]:
    """The address of a machine beyond this one that answers on port 9912: a network namespace."""
    if os.getuid() != 0:
        pytest.skip("network namespaces need root")
    number = os.getpid() % 200 + 1
    near, far, space = f"10.98.{number}.1", f"10.98.{number}.2", f"outside-{os.getpid()}"

    def ip(*argv: str) -> None:
        subprocess.run(["ip", *argv], check=True, capture_output=True)

    ip("netns", "add", space)
    try:
        ip("link", "add", f"v{number}", "type", "veth", "peer", "name", f"w{number}")
        ip("link", "set", f"w{number}", "netns", space)
        ip("addr", "add", f"{near}/24", "dev", f"v{number}")
        ip("link", "set", f"v{number}", "up")
        ip("-n", space, "addr", "add", f"{far}/24", "dev", f"w{number}")
        ip("-n", space, "link", "set", f"w{number}", "up")
        ip("-n", space, "route", "add", "default", "via", near)
        argv = [
            "ip",
            "netns",
            "exec",
            space,
            "busybox",
            "nc",
            "-ll",
            "-p",
            "9912",
            "-e",
            "/bin/echo",
        ]
        server = subprocess.Popen([*argv, "outside"])
        yield far
        server.kill()
        server.wait()
    finally:
        ip("netns", "del", space)


def test_an_offline_container_answers_here_and_reaches_nobody(
    engine: DockerEngine, spec: Spec, outside: str
) -> None:
    reach = ("exec", "NAME", "timeout", "3", "nc", outside, "9912")
    answers = {}
    for network in ("bridge", OFFLINE_NETWORK):
        one = spec(network=network, ports=(PublishedPort(container=8000, host=0),))
        engine.start(engine.create(one))
        port = docker("port", one.name, "8000").rpartition(":")[2]
        until_it_answers(port)
        done = subprocess.run(
            ["docker", *(one.name if word == "NAME" else word for word in reach)],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        answers[network] = done.stdout.strip()
    # The network alone is enough: this one's packets may go as far as they like.
    free = ("--rm", "--network", OFFLINE_NETWORK, "--entrypoint", "timeout", one.image)
    done = subprocess.run(
        ["docker", "run", *free, "3", "nc", outside, "9912"],
        capture_output=True,
        text=True,
        check=False,
    )
    answers["network alone"] = done.stdout.strip()
    assert answers == {"bridge": "outside", OFFLINE_NETWORK: "", "network alone": ""}


def until_it_answers(port: str) -> None:
    url = f"http://127.0.0.1:{port}/health"
    for _ in range(100):
        done = subprocess.run(["curl", "--silent", "--fail", url], capture_output=True, check=False)
        if done.returncode == 0:
            return
        time.sleep(0.05)
    raise AssertionError(done)
