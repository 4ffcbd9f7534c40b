"""The network of `--offline`: reachable from this machine, without a way out."""

from docker import APIClient

from nimctl.core.containers import OFFLINE_NETWORK, OFFLINE_NETWORK_OPTIONS
from nimctl.serving.docker.failures import translated


def ensure_offline(client: APIClient, where: str) -> None:
    """Make the network unless it is there."""
    with translated(f"making the network {OFFLINE_NETWORK}", where):
        if client.networks(names=[OFFLINE_NETWORK]):
            return
        client.create_network(
            OFFLINE_NETWORK,
            driver="bridge",
            options=OFFLINE_NETWORK_OPTIONS,
            check_duplicate=True,
        )
