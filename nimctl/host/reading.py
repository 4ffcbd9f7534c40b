"""What a driver answers about GPUs, before anything is concluded from it."""

from nimctl.core.value import Value


class Slice(Value):
    """One MIG slice; memory in bytes."""

    uuid: str
    profile: str
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    memory_free_bytes: int | None = None


class GpuReading(Value):
    """One GPU as the driver tells of it; None is what it cannot tell.

    `pci_bus` is as NVML writes it, `00000000:1B:00.0`. `error` tells why nothing else is known.
    """

    index: int
    name: str = ""
    uuid: str = ""
    pci_device: str = ""
    pci_bus: str | None = None
    compute_capability: str | None = None
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    memory_free_bytes: int | None = None
    mig_enabled: bool = False
    slices: tuple[Slice, ...] = ()
    nvlink_peers: tuple[int, ...] = ()
    ecc: bool | None = None
    power_limit_w: float | None = None
    drives_display: bool = False
    error: str | None = None


class Reading(Value):
    """Everything that a driver answers; `error` and NVML's `error_code` where it does not."""

    driver_version: str | None = None
    cuda_version: str | None = None
    gpus: tuple[GpuReading, ...] = ()
    error: str | None = None
    error_code: int | None = None


def sysfs_address(bus_id: str) -> str | None:
    """NVML's `00000000:1B:00.0` as sysfs has it; None for parts that are on no bus."""
    domain, _, rest = bus_id.lower().partition(":")
    return f"{int(domain, 16):04x}:{rest}" if rest else None
