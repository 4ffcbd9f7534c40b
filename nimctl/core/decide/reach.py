"""What of a machine a server may use, before anything is chosen for it."""

from collections.abc import Mapping

import msgspec

from nimctl.core.devices import within_reach
from nimctl.core.machine import Host
from nimctl.core.requests import ServeRequest


def reachable(
    request: ServeRequest, host: Host, taken: Mapping[str, str]
) -> tuple[Host, str | None]:
    """The machine without the GPUs that cannot be used, and why they cannot, if it had any.

    `taken` maps the UUIDs of GPUs to the servers that have them. Without a container engine that
    can give GPUs to containers none is in reach, and the CPU serves; unless a container was asked
    for, which then has to fail for that reason.

    Raises:
        HardwareError: A GPU that was named is not there, or another server has it.
    """
    if not host.gpus or request.gpus.is_none:
        return msgspec.structs.replace(host, gpus=()), "--gpus none is given" if host.gpus else None
    there = ", ".join(dict.fromkeys(gpu.name for gpu in host.gpus))
    why = None if request.wants_container else _why_not(host)
    if why is None:
        near = within_reach(host, request.gpus, taken)
        busy = sorted(set(taken.values()))
        if near.gpus:
            return near, None
        host, why = near, f"other servers have all of it: {', '.join(busy)}"
    return msgspec.structs.replace(host, gpus=()), f"{there} is not used: {why}"


def _why_not(host: Host) -> str | None:
    engine = host.container_engine
    if engine is None:
        words = (one.message for one in host.troubles if one.kind == "no-container-engine")
        return next(words, "no container engine answers")
    if not engine.offers_gpus:
        return f"{engine.kind} has neither the NVIDIA runtime nor CDI devices"
    return None
