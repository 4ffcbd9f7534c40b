"""What a container is started with, decided without an engine."""

import pytest

from nimctl.core.containers import (
    OFFLINE_EXPOSED,
    OFFLINE_NETWORK,
    ContainerSpec,
    Secret,
    name_servers,
    needs_entrypoint,
    nobody,
    started_command,
    sysctls,
    user_inside,
)

KEY = Secret(name="k", source="/home/ann/key", variable="API_KEY")
FILE = Secret(name="f", source="/home/ann/file")


def spec(**fields: object) -> ContainerSpec:
    return ContainerSpec(**{"name": "x", "image": "i", **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "entrypoint", "command"),
    [
        ({}, None, ()),
        ({"command": ("a", "b")}, None, ("a", "b")),
        ({"entrypoint": ("vllm", "serve"), "command": ("m",)}, ("vllm",), ("serve", "m")),
        ({"entrypoint": (), "command": ("m",)}, ("",), ("m",)),
        ({"secrets": (FILE,), "command": ("m",)}, None, ("m",)),
    ],
)
def test_entrypoint_and_command_are_split_as_docker_run_takes_them(
    fields: dict[str, object], entrypoint: tuple[str, ...] | None, command: tuple[str, ...]
) -> None:
    assert started_command(spec(**fields)) == (entrypoint, command)


def test_a_secret_variable_puts_a_shell_in_front() -> None:
    one = spec(entrypoint=("serve", "x"), command=("--port", "1"), secrets=(KEY, FILE))
    entrypoint, command = started_command(one)
    assert entrypoint == ("/bin/sh",)
    assert command[0] == "-c"
    assert command[1] == 'export API_KEY="$(cat /run/secrets/k)"; exec "$@"'
    assert command[2:] == ("sh", "serve", "x", "--port", "1")


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ({}, False),
        ({"secrets": (FILE,)}, False),
        ({"secrets": (KEY,)}, True),
        ({"secrets": (KEY,), "entrypoint": ("serve",)}, False),
    ],
)
def test_only_a_secret_variable_needs_the_images_entrypoint(
    fields: dict[str, object], *, needed: bool
) -> None:
    assert needs_entrypoint(spec(**fields)) is needed


@pytest.mark.parametrize(
    ("network", "hops", "names"),
    [(OFFLINE_NETWORK, True, False), (OFFLINE_EXPOSED, False, False), ("bridge", False, True)],
)
def test_packets_of_an_offline_container_go_one_hop_unless_others_are_to_reach_it(
    network: str, *, hops: bool, names: bool
) -> None:
    assert bool(sysctls(spec(network=network))) is hops
    assert (name_servers(spec(network=network)) == ()) is names


@pytest.mark.parametrize(
    ("subnet", "address"),
    [
        ("172.18.0.0/16", "172.18.0.254"),
        ("192.168.16.0/20", "192.168.16.254"),
        ("10.1.2.0/24", "10.1.2.254"),
        ("10.1.2.16/28", "10.1.2.30"),
    ],
)
def test_the_gateway_of_an_offline_network_is_an_address_in_it(subnet: str, address: str) -> None:
    assert nobody(subnet) == address


@pytest.mark.parametrize(
    ("uid", "rootless", "user"),
    [(0, False, "1000:1000"), (501, False, "501:20"), (501, True, "0:0")],
)
def test_a_container_runs_as_its_caller_but_never_as_root_of_the_machine(
    uid: int, *, rootless: bool, user: str
) -> None:
    assert user_inside(uid, 20, rootless=rootless) == user
