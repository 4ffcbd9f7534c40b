"""What a container is started with, decided without an engine."""

import pytest

from nimctl.core.containers import (
    OFFLINE_NETWORK,
    ContainerSpec,
    PublishedPort,
    Secret,
    needs_entrypoint,
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
    ("network", "addresses", "hops"),
    [
        (OFFLINE_NETWORK, ("127.0.0.1",), True),
        (OFFLINE_NETWORK, ("127.0.0.1", "::1"), True),
        (OFFLINE_NETWORK, (), True),
        (OFFLINE_NETWORK, ("0.0.0.0",), False),
        ("bridge", ("127.0.0.1",), False),
    ],
)
def test_packets_of_an_offline_container_go_one_hop_unless_others_are_to_reach_it(
    network: str, addresses: tuple[str, ...], *, hops: bool
) -> None:
    ports = tuple(PublishedPort(container=1, host=1, address=one) for one in addresses)
    assert bool(sysctls(spec(network=network, ports=ports))) is hops


@pytest.mark.parametrize(
    ("uid", "rootless", "user"),
    [(0, False, "1000:1000"), (501, False, "501:20"), (501, True, "0:0")],
)
def test_a_container_runs_as_its_caller_but_never_as_root_of_the_machine(
    uid: int, *, rootless: bool, user: str
) -> None:
    assert user_inside(uid, 20, rootless=rootless) == user
