"""The printed `docker run` line makes the very container that nimctl makes."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from docker_cli import RUN, docker
from golden_containers import DIRECTORY

from nimctl.core.containers import (
    BRIDGE,
    OFFLINE_NETWORK,
    OFFLINE_NETWORKS,
    ContainerSpec,
    Devices,
    HealthCheck,
    Mount,
    PublishedPort,
    Secret,
    needs_entrypoint,
    network_options,
    nobody,
)
from nimctl.core.docker_run import docker_run_argv, offline_network_lines, printed
from nimctl.serving.docker.engine import DockerEngine

Spec = Callable[..., ContainerSpec]

# Of the two containers' own: when and under which name they were made, and where their log is.
OWN = ("Id", "Created", "Name", "State", "NetworkSettings")
PATHS = ("ResolvConfPath", "HostnamePath", "HostsPath", "LogPath", "GraphDriver", "ExecIDs")
# What only the command fills in: its own terminal, and defaults that the engine has anyway.
HOST_DEFAULTS = ("ConsoleSize", "MaskedPaths", "ReadonlyPaths")


def inspected(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("inspect", name))[0]
    for key in (*OWN, *PATHS):
        found.pop(key, None)
    found["Config"].pop("Hostname")
    found["Config"].pop("Labels")
    # The engine keeps these in no order.
    found["Config"]["Env"].sort()
    found["Mounts"].sort(key=lambda mount: mount["Destination"])
    for key in HOST_DEFAULTS:
        found["HostConfig"].pop(key, None)
    return dict(fields(found))


def fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every field with its path; null, an empty list, an empty object and no key are one thing."""
    match value:
        case dict():
            for key, one in value.items():
                yield from fields(one, f"{path}.{key}")
        case list():
            for index, one in enumerate(value):
                yield from fields(one, f"{path}[{index}]")
        case None:
            return
        case _:
            yield path, value


def client_knows_cdi() -> bool:
    """Since https://docs.docker.com/engine/release-notes/25.0/; Debian 12's does not."""
    return int(docker("version", "--format", "{{.Client.Version}}").partition(".")[0]) >= 25


def compare(engine: DockerEngine, ours: ContainerSpec, printed_spec: ContainerSpec) -> None:
    if ours.devices and ours.devices.method == "cdi" and not client_knows_cdi():
        # It takes a CDI name for a path: that the line has them, and that the rest is the same.
        assert set(ours.devices.cdi_names) <= set(docker_run_argv(printed_spec))
        ours = msgspec.structs.replace(ours, devices=None)
        printed_spec = msgspec.structs.replace(printed_spec, devices=None)
    engine.create(ours)
    # As a person would: through a shell. Without a GPU the start fails, after the creation.
    subprocess.run(printed(printed_spec), shell=True, capture_output=True, check=False)  # noqa: S602
    mine, theirs = inspected(ours.name), inspected(printed_spec.name)
    differing = {
        key: (mine.get(key), theirs.get(key))
        for key in mine.keys() | theirs.keys()
        if mine.get(key) != theirs.get(key)
    }
    assert differing == {}


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.json")), ids=lambda path: path.stem)
def test_the_line_makes_what_nimctl_makes_for_each_backend(
    engine: DockerEngine, spec: Spec, tmp_path: Path, path: Path
) -> None:
    golden = msgspec.json.decode(path.read_bytes(), type=ContainerSpec)
    golden = on_this_machine(golden, tmp_path)
    names = [spec().name for _ in range(2)]
    image = spec().image
    ours, printed_spec = (msgspec.structs.replace(golden, name=name, image=image) for name in names)
    compare(engine, ours, printed_spec)


def on_this_machine(golden: ContainerSpec, directory: Path) -> ContainerSpec:
    """The same with sources that are there, and with ports that are free."""

    def there(source: str) -> str:
        path = directory / source.strip("/").replace("/", "-")
        path.touch(mode=0o600)
        return str(path)

    return msgspec.structs.replace(
        golden,
        mounts=tuple(
            msgspec.structs.replace(one, source=there(one.source)) for one in golden.mounts
        ),
        secrets=tuple(
            msgspec.structs.replace(one, source=there(one.source)) for one in golden.secrets
        ),
        ports=tuple(msgspec.structs.replace(one, host=0) for one in golden.ports),
        user=None,
    )


def everything(directory: Path) -> dict[str, Any]:
    """Every field that no golden container has, and values that need quoting."""
    odd = directory / 'odd, "named" $HOME'
    odd.mkdir()
    key = directory / "key"
    key.touch(0o600)
    return {
        "entrypoint": ("/bin/serve", "--first"),
        "command": ("a b", "$HOME", "--flag=x"),
        "environment": {"A": "b c", "STAND_IN": "hang"},
        "secrets": (
            Secret(name="k", source=str(key), variable="KEY"),
            Secret(name="l", source=str(key)),
        ),
        "mounts": (Mount(source=str(odd), target="/odd"), Mount(source=str(odd), target="/w")),
        "tmpfs": {"/tmp": 2**20, "/var/tmp": 2**21},
        "ports": (
            PublishedPort(container=8000, host=0),
            PublishedPort(container=8001, host=0, address="0.0.0.0"),
        ),
        "user": "0:0",
        "working_directory": "/tmp",
        "ipc": "shareable",
        "shm_bytes": 2**27,
        "ulimits": {"memlock": -1, "stack": 67108864},
        "memory_limit_bytes": 2**28,
        "pids_limit": 64,
        "cpuset": "0",
        "numa_nodes": "0",
        "restart": "unless-stopped",
        "health": HealthCheck(command=("/bin/sh", "-c", "exit 0"), start_period_s=1.5),
        "init": False,
        "platform": "linux/amd64",
    }


def test_the_line_says_every_field(engine: DockerEngine, spec: Spec, tmp_path: Path) -> None:
    fields = everything(tmp_path)
    assert {*ContainerSpec.__struct_fields__} - {*fields} == {
        *("name", "image", "labels", "network", "devices", "read_only_root"),
        *("dropped_capabilities", "no_new_privileges", "log_max_bytes", "log_files"),
    }
    compare(engine, spec(**fields), spec(**fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"read_only_root": False, "dropped_capabilities": ("CAP_NET_RAW",)},
        {"no_new_privileges": False, "pids_limit": None, "log_max_bytes": 4096, "log_files": 1},
        {"network": "none"},
        {"network": "host"},
        {"network": OFFLINE_NETWORK, "ports": (PublishedPort(container=8000, host=0),)},
        {"devices": Devices(uuids=("GPU-1", "GPU-2"))},
        {"devices": Devices(uuids=("MIG-1",), method="cdi")},
        {"entrypoint": (), "command": ("/bin/true",)},
    ],
    ids=str,
)
def test_the_line_says_the_rest_too(
    engine: DockerEngine, spec: Spec, fields: dict[str, Any]
) -> None:
    compare(engine, spec(**fields), spec(**fields))


def test_the_line_keeps_a_secret_out_of_what_inspect_shows(
    engine: DockerEngine, spec: Spec, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.touch(0o600)
    fields = {
        "secrets": (Secret(name="ngc", source=str(key), variable="NGC_API_KEY"),),
        "command": ("a b", "$HOME"),
    }
    compare(engine, spec(**fields), spec(**fields))
    assert "--env" not in printed(spec(**fields)).split()


@pytest.mark.parametrize("name", OFFLINE_NETWORKS)
def test_the_networks_of_offline_are_made_by_lines_as_well(
    engine: DockerEngine, spec: Spec, name: str
) -> None:
    engine.create(spec(network=name))
    other = f"{RUN}-{name}"
    bridge = network_options(name)[BRIDGE]
    script = "\n".join(offline_network_lines(name)).replace(name, other)
    # No other network is made on a bridge that has one.
    script = script.replace(f"={bridge}", f"={bridge}-other")
    try:
        for _ in range(2):
            subprocess.run(["sh", "-e", "-c", script], check=True)
        made, printed_one = (network(one) for one in (name, other))
    finally:
        docker("network", "rm", other)
    assert made["Options"] == network_options(name)
    assert printed_one["Options"] == {**made["Options"], BRIDGE: f"{bridge}-other"}
    assert gateway(printed_one) == gateway(made) == (name == OFFLINE_NETWORK)


def network(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("network", "inspect", name))[0]
    return found


def gateway(network: dict[str, Any]) -> bool:
    """Whether its gateway is the last address but one of those that begin alike, as nobody's."""
    (pool,) = network["IPAM"]["Config"]
    stands_for_it = (pool.get("AuxiliaryAddresses") or {}).get("DefaultGatewayIPv4")
    return bool(stands_for_it == nobody(pool["Subnet"]))


def restored(engine: DockerEngine, one: ContainerSpec) -> tuple[ContainerSpec, ContainerSpec]:
    """What the engine gives back, and what was given, in the form in which both can be compared."""
    engine.create(one)
    found = engine.spec(one.name)
    assert found
    if needs_entrypoint(one):
        # The engine was asked, and so the container has it.
        one = msgspec.structs.replace(one, entrypoint=("/bin/serve",))
    # Words of the entrypoint and of the command are one sequence; the engine keeps no platform.
    words = (*(one.entrypoint or ()), *one.command)
    entrypoint = words[:1] if one.entrypoint else one.entrypoint
    command = words[1:] if one.entrypoint else one.command
    given = msgspec.structs.replace(one, entrypoint=entrypoint, command=command, platform=None)
    return found, given


def assert_same(found: ContainerSpec, given: ContainerSpec) -> None:
    differing = {
        field: (getattr(found, field), getattr(given, field))
        for field in ContainerSpec.__struct_fields__
        if getattr(found, field) != getattr(given, field)
    }
    assert differing == {}


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.json")), ids=lambda path: path.stem)
def test_a_spec_can_be_read_back_from_the_engine(
    engine: DockerEngine, spec: Spec, tmp_path: Path, path: Path
) -> None:
    golden = msgspec.json.decode(path.read_bytes(), type=ContainerSpec)
    made = spec()
    one = msgspec.structs.replace(
        on_this_machine(golden, tmp_path), name=made.name, image=made.image, labels={"a": "b"}
    )
    found, given = restored(engine, one)
    assert_same(found, given)


def test_every_field_of_a_spec_can_be_read_back(
    engine: DockerEngine, spec: Spec, tmp_path: Path
) -> None:
    found, given = restored(engine, spec(**everything(tmp_path)))
    assert_same(found, given)
