"""The networks of `--offline`: reachable from this machine, without a way out."""

import secrets
import time
from typing import Any

from docker import APIClient
from docker.errors import APIError
from docker.types import IPAMConfig, IPAMPool

from nimctl.core.containers import (
    BRIDGE,
    DEFAULT_GATEWAY,
    MASQUERADE,
    OFFLINE_EXPOSED,
    OFFLINE_NETWORK,
    network_options,
    nobody,
)
from nimctl.core.errors import ContainerEngineError
from nimctl.serving.docker.failures import translated

# Another process may be making it: it is seen a moment after its bridge's name is taken.
_SEEN_S = 2.0
_POLL_S = 0.1


def ensure_offline(client: APIClient, name: str, where: str, *, podman: bool) -> None:
    """Make a network unless it is there, or comes to be.

    Raises:
        ContainerEngineError: The engine refuses, or makes one with a way out.
    """
    options = network_options(name)
    if podman:
        # No two of its networks have one name, and the bridge may be Docker's.
        del options[BRIDGE]
    with translated(f"making the network {name}", where):
        network = _make(client, name, options)
    # Podman's API drops the option (seen with 4.3). Of the other network one hop is the end.
    if name == OFFLINE_EXPOSED and (network["Options"] or {}).get(MASQUERADE) != "false":
        raise ContainerEngineError(
            "the container engine cannot keep a server that others reach off the network",
            cause=f"its network {name} has a way out",
            hint="listen on 127.0.0.1 with --offline, or leave --offline out",
        )


def _find(client: APIClient, name: str) -> dict[str, Any] | None:
    # The engine finds networks by a part of their names.
    found = (one for one in client.networks(names=[name]) if one["Name"] == name)
    return next(found, None)


def _make(client: APIClient, name: str, options: dict[str, str]) -> dict[str, Any]:
    deadline = time.monotonic() + _SEEN_S
    while (found := _find(client, name)) is None:
        try:
            pool = {"ipam": _range(client)} if name == OFFLINE_NETWORK else {}
            _create(client, name, options, **pool)
        except APIError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)
    return found


def _range(client: APIClient) -> IPAMConfig:
    """Addresses that are free, which the engine knows: it chooses them for another network.

    That one has another name, since another process would take it for ready.
    """
    made = _create(client, f"{OFFLINE_NETWORK}-{secrets.token_hex(4)}", {})
    try:
        subnet = _subnet(client.inspect_network(made))
    finally:
        client.remove_network(made)
    pool = IPAMPool(subnet=subnet, aux_addresses={DEFAULT_GATEWAY: nobody(subnet)})
    return IPAMConfig(pool_configs=[pool])


def _create(client: APIClient, name: str, options: dict[str, str], **more: Any) -> str:
    made = client.create_network(
        name, driver="bridge", options=options, check_duplicate=True, **more
    )
    return str(made["Id"])


def _subnet(network: dict[str, Any]) -> str:
    pools = (str(one["Subnet"]) for one in network["IPAM"]["Config"])
    return next(subnet for subnet in pools if ":" not in subnet)
