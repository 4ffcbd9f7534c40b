"""The networks of `--offline`: reachable from this machine, without a way out."""

import secrets
from typing import Any

from docker import APIClient
from docker.types import IPAMConfig, IPAMPool

from nimctl.core.containers import (
    DEFAULT_GATEWAY,
    OFFLINE_NETWORK,
    OFFLINE_NETWORK_OPTIONS,
    nobody,
)
from nimctl.serving.docker.failures import translated


def ensure_offline(client: APIClient, name: str, where: str) -> None:
    """Make a network unless it is there."""
    with translated(f"making the network {name}", where):
        # The engine finds networks by a part of their names.
        if any(one["Name"] == name for one in client.networks(names=[name])):
            return
        if name != OFFLINE_NETWORK:
            _create(client, name)
            return
        # The engine knows which addresses are free: it chooses a range, and that is asked for. It
        # does so under another name, since another process would take this one for ready.
        made = _create(client, f"{name}-{secrets.token_hex(4)}")
        subnet = _subnet(client.inspect_network(made))
        client.remove_network(made)
        pool = IPAMPool(subnet=subnet, aux_addresses={DEFAULT_GATEWAY: nobody(subnet)})
        _create(client, name, ipam=IPAMConfig(pool_configs=[pool]))


def _create(client: APIClient, name: str, **more: Any) -> str:
    made = client.create_network(
        name, driver="bridge", options=OFFLINE_NETWORK_OPTIONS, check_duplicate=True, **more
    )
    return str(made["Id"])


def _subnet(network: dict[str, Any]) -> str:
    pools = (str(one["Subnet"]) for one in network["IPAM"]["Config"])
    return next(subnet for subnet in pools if ":" not in subnet)
