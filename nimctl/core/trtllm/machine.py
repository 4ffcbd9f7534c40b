"""What a machine has to build with: GPUs, a container engine, an installation."""

from nimctl.core.errors import ContainerEngineError, HardwareError, NotFoundError
from nimctl.core.machine import Gpu, Host
from nimctl.core.trtllm.subject import Subject


def check_container_engine(host: Host) -> None:
    """Refuse a host whose containers get no GPUs.

    Raises:
        ContainerEngineError: With what is missing.
    """
    engine = host.container_engine
    if engine is None:
        raise ContainerEngineError(
            "engines are built in a container, and there is no container engine here",
            cause="neither Docker nor Podman answers, and TensorRT-LLM is not installed either",
            hint="nimctl doctor",
        )
    if not engine.offers_gpus:
        raise ContainerEngineError(
            f"{engine.kind} cannot hand GPUs to containers",
            cause="it has neither the NVIDIA runtime nor CDI devices",
            hint="install the NVIDIA Container Toolkit; nimctl doctor",
        )


def check_same_gpu(subject: Subject, host: Host) -> None:
    """Refuse to build here for a GPU that is not here: an engine runs where it was compiled.

    Raises:
        HardwareError: This machine has other GPUs, or none.
    """
    wanted = subject.gpus[0]
    here = {gpu.compute_capability for gpu in host.gpus}
    if wanted.compute_capability in here:
        return
    found = ", ".join(sorted({gpu.name for gpu in host.gpus})) or "no GPU"
    raise HardwareError(
        f"an engine for {wanted.name} cannot be built on this machine",
        cause=f"it needs compute capability {wanted.compute_capability}, this machine has {found}",
        hint="add --dry-run to see the commands, and run them on such a machine",
    )


def choose_gpus(host: Host, count: int, bound_to: str | None = None) -> tuple[Gpu, ...]:
    """The GPUs to build for: alike, as many as needed, those with the most free memory.

    Raises:
        HardwareError: There are not so many.
    """
    groups: dict[tuple[str, int | None, str | None], list[Gpu]] = {}
    for gpu in host.gpus:
        if bound_to is None or gpu.key == bound_to:
            groups.setdefault((gpu.name, gpu.memory_total_bytes, gpu.mig_profile), []).append(gpu)
    fitting = [group for group in groups.values() if len(group) >= count]
    if not fitting:
        found = ", ".join(f"{len(group)} x {group[0].name}" for group in groups.values())
        raise HardwareError(
            f"{count} identical GPUs{f' of kind {bound_to}' if bound_to else ''} are needed",
            cause=f"this machine has {found or 'none'}",
            hint="fewer with --tp, or plan for others with --gpu h100_sxm:8 --dry-run",
        )
    best = max(fitting, key=lambda group: (group[0].capability, group[0].memory_total_bytes or 0))
    by_room = sorted(best, key=lambda gpu: (-(gpu.memory_free_bytes or 0), gpu.index))
    return tuple(sorted(by_room[:count], key=lambda gpu: gpu.index))


def check_installed(found: str | None) -> str:
    """The version of a TensorRT-LLM that is installed on this machine.

    Raises:
        NotFoundError: None is.
    """
    if found is None:
        raise NotFoundError(
            "TensorRT-LLM is not installed on this machine",
            cause="there is neither the package tensorrt-llm nor trtllm-build on PATH",
            hint="--builder container",
        )
    return found
