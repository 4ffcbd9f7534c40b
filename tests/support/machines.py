"""Machines for tests: a host with GPUs of the table, and with as much of them in use as is said."""

from nimctl.core.gpus import by_key
from nimctl.core.machine import Cpu, EmbeddedRuntime, Gpu, Host

GIB = 2**30
CPU = Cpu(
    model="Test CPU",
    architecture="x86_64",
    cores=4,
    threads=8,
    features=("avx2", "fma", "f16c", "bmi2"),
)


def gpu(key: str, index: int = 0, *, used_gib: float = 0, **other: object) -> Gpu:
    """A GPU of a kind of the table."""
    part = by_key(key)
    assert part is not None, key
    used = round(used_gib * GIB)
    fields: dict[str, object] = {
        "index": index,
        "name": part.names[0],
        "uuid": f"GPU-{key}-{index}",
        "pci_device": f"{next(iter(part.pci_devices), 'none')}:10de",
        "compute_capability": part.compute_capability,
        "key": key,
        "memory_total_bytes": part.memory_bytes,
        "memory_used_bytes": used,
        "memory_free_bytes": None if part.memory_bytes is None else part.memory_bytes - used,
        "unified_memory": part.unified_memory,
    }
    return Gpu(**{**fields, **other})  # type: ignore[arg-type]


def host(*gpus: Gpu | str, memory_gib: float = 12) -> Host:
    """A host with these GPUs; a key stands for an idle GPU of that kind."""
    made = [gpu(one, index) if isinstance(one, str) else one for index, one in enumerate(gpus)]
    return Host(
        system="linux",
        cpu=CPU,
        memory_total_bytes=round(memory_gib * GIB * 4 / 3),
        memory_available_bytes=round(memory_gib * GIB),
        disk_free_bytes=100 * GIB,
        gpus=tuple(made),
        embedded=EmbeddedRuntime(version="2026.10.11549", libgomp=True),
    )
