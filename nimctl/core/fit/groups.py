"""Identical GPUs: what a model can be divided over."""

from collections.abc import Callable, Iterable

from nimctl.core.machine import Gpu, Host
from nimctl.core.placement import place
from nimctl.core.value import Value


class GpuGroup(Value):
    """The GPUs of a host that are of one kind and size, or its MIG slices of one profile."""

    gpus: tuple[Gpu, ...]

    @property
    def kind(self) -> Gpu:
        """One of them: they are all alike."""
        return self.gpus[0]


def groups_of(host: Host) -> tuple[GpuGroup, ...]:
    """The identical GPUs of a host, the largest group first."""
    found: dict[tuple[object, ...], list[Gpu]] = {}
    for gpu in host.gpus:
        kind = (gpu.pci_device, gpu.name, gpu.memory_total_bytes, gpu.mig_profile)
        found.setdefault(kind, []).append(gpu)
    groups = [
        GpuGroup(gpus=tuple(sorted(gpus, key=lambda gpu: (gpu.index, gpu.uuid))))
        for gpus in found.values()
    ]
    return tuple(sorted(groups, key=lambda one: (-len(one.gpus), one.kind.index, one.kind.uuid)))


def short_name(gpu: Gpu) -> str:
    """What people call it: `H100 80GB HBM3`, `H100 80GB HBM3 MIG 3g.40gb`."""
    name = gpu.name.removeprefix("NVIDIA ").removeprefix("GeForce ")
    slice_ = f" MIG {gpu.mig_profile}"
    # NVML has it in the name already.
    return name + slice_ if gpu.mig_profile and not name.endswith(slice_) else name


def inventory(groups: Iterable[GpuGroup]) -> str:
    """For example `1 H100 80GB HBM3 and 1 T600`."""
    parts = [f"{len(group.gpus)} {short_name(group.kind)}" for group in groups]
    if not parts:
        return "no NVIDIA GPU"
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def free_bytes(gpu: Gpu, host: Host) -> int | None:
    """Memory that a server could have now; None when nothing tells."""
    if gpu.unified_memory:
        return host.memory_available_bytes
    if gpu.memory_free_bytes is not None:
        return gpu.memory_free_bytes
    if gpu.memory_total_bytes is None:
        return None
    return gpu.memory_total_bytes - (gpu.memory_used_bytes or 0)


def used_share(gpu: Gpu) -> float:
    """The share of its memory that is in use, 0 when nothing tells."""
    if not gpu.memory_total_bytes:
        return 0.0
    return (gpu.memory_used_bytes or 0) / gpu.memory_total_bytes


def pick(group: GpuGroup, count: int, suits: Callable[[Gpu], bool]) -> tuple[Gpu, ...] | None:
    """Take GPUs that suit, as near each other as can be; None when there are not enough."""
    return next(iter(place(filter(suits, group.gpus), count, 1)), None)


def by_room(group: GpuGroup, host: Host) -> list[Gpu]:
    """The GPUs of a group, those with the most free memory first and without a display before."""
    return sorted(
        group.gpus, key=lambda gpu: (-(free_bytes(gpu, host) or 0), gpu.drives_display, gpu.index)
    )
