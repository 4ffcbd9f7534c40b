"""Whose a GPU is when two servers were planned on it at one moment: whose container is older."""

from datetime import datetime, timedelta

from nimctl.core.containers import Container
from nimctl.core.errors import HardwareError, NotFoundError
from nimctl.core.ports import Containers
from nimctl.core.servers import NAME_LABEL

# From the creation of a container to its start; what was created before was left behind.
_STARTS_WITHIN = timedelta(minutes=1)


def check(containers: Containers, name: str) -> None:
    """See whether the GPUs of a container that was created and not started are still free.

    Raises:
        HardwareError: Another server has one of them.
    """
    mine = containers.container(name)
    if mine is None:
        raise NotFoundError(f"the container {name} was removed before it was started")
    for other in containers.containers({NAME_LABEL: None}):
        if set(other.gpus) & set(mine.gpus) and came_first(other, mine):
            raise HardwareError(
                f"a GPU of {name} has come to be in use by the server {other.name}",
                cause="both were started at one moment",
                hint="the same command again takes GPUs that are free, --share-gpus these too",
            )


def came_first(other: Container, mine: Container) -> bool:
    """Whether another container, which runs or is about to, has what both want."""
    age = _created(mine) - _created(other)
    if other.id == mine.id or (age, other.id) < (timedelta(0), mine.id):
        return False
    is_starting = other.state.status == "created" and age < _STARTS_WITHIN
    return other.state.is_running or is_starting


def _created(one: Container) -> datetime:
    return datetime.fromisoformat(one.created)
