"""What of a machine a server may use, before anything is chosen for it."""

from collections.abc import Mapping, Sequence

import msgspec

from nimctl.core.devices import within_reach
from nimctl.core.errors import HardwareError
from nimctl.core.fit.groups import groups_of, inventory
from nimctl.core.machine import Host
from nimctl.core.placement import place
from nimctl.core.requests import ServeRequest


def reachable(
    request: ServeRequest, host: Host, taken: Mapping[str, str]
) -> tuple[Host, str | None]:
    """The machine without the GPUs that cannot be used, and why they cannot, if it had any.

    `taken` maps the UUIDs of GPUs to the servers that have them. Without a container engine that
    can give GPUs to containers none is in reach, and the CPU serves; unless a container or GPUs
    were asked for, which then has to fail for that reason.

    Raises:
        HardwareError: A GPU that was named is not there, or another server has it; or there are
            fewer than were asked for.
    """
    if request.gpus.is_some and not host.gpus:
        raise HardwareError(
            "GPUs are asked for with --gpus, and there is none",
            cause=next((one.message for one in host.troubles), None),
            hint="nimctl doctor; without --gpus the CPU serves",
        )
    if not host.gpus or request.gpus.is_none:
        return msgspec.structs.replace(host, gpus=()), "--gpus none is given" if host.gpus else None
    there = ", ".join(dict.fromkeys(gpu.name for gpu in host.gpus))
    asked = request.wants_container or request.gpus.is_some
    why = None if asked else _why_not(host)
    if why is None:
        near = within_reach(host, request.gpus, taken)
        busy = sorted(set(taken.values()))
        if request.gpus.count:
            return _counted(near, request.gpus.count, busy), None
        if near.gpus:
            return near, None
        host, why = near, f"other servers have all of it: {', '.join(busy)}"
    return msgspec.structs.replace(host, gpus=()), f"{there} is not used: {why}"


def _counted(host: Host, count: int, busy: Sequence[str]) -> Host:
    """The machine with so many GPUs of one kind, those that serve together best."""
    groups = groups_of(host)
    for group in groups:
        for gpus in place(group.gpus, count, 1):
            return msgspec.structs.replace(host, gpus=gpus)
    raise HardwareError(
        f"--gpus {count} needs as many GPUs of one kind, and there are {inventory(groups)}",
        cause=f"other servers have the rest: {', '.join(busy)}" if busy else None,
        hint="nimctl ps shows which server has which, nimctl doctor what there is",
    )


def _why_not(host: Host) -> str | None:
    engine = host.container_engine
    if engine is None:
        words = (one.message for one in host.troubles if one.kind == "no-container-engine")
        return next(words, "no container engine answers")
    if not engine.offers_gpus:
        return f"{engine.kind} has neither the NVIDIA runtime nor CDI devices"
    return None
