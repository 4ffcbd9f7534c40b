"""Serving on the CPU: said aloud where there is a GPU, and refused where one is required."""

from collections.abc import Iterator

from nimctl.core.decide.target import Surroundings, Target
from nimctl.core.errors import HardwareError
from nimctl.core.requests import ServeRequest


def check_required(request: ServeRequest, target: Target, around: Surroundings) -> None:
    """Refuse the CPU where a GPU is required.

    Raises:
        HardwareError: The chosen profile does not run on one.
    """
    if not request.require_gpu or target.candidate.profile.backend != "llama_cpp":
        return
    gpus = around.host.gpus
    found = around.idle_gpus or f"this host has {gpus[0].name if gpus else 'no NVIDIA GPU'}"
    raise HardwareError(
        f"no profile of {target.model} runs on a GPU here",
        cause=f"{found}; the backend llama_cpp serves on the CPU",
        hint=f"nimctl list-profiles {target.ref}",
    )


def notes(target: Target, around: Surroundings) -> Iterator[str]:
    """What to say where the chosen profile runs on the CPU."""
    if target.candidate.profile.backend != "llama_cpp":
        return
    host = around.host
    if around.idle_gpus:
        yield f"WARNING: serving on the CPU; {around.idle_gpus}"
    elif host.gpus:
        yield f"WARNING: serving on the CPU; {host.gpus[0].name} is not used by llama_cpp"
    else:
        yield f"serving on the CPU ({host.cpu.model}): no NVIDIA GPU found"
