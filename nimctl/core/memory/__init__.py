"""How much memory a model takes: `need` (the values), `gpu` and `cpu` (one model each)."""

from nimctl.core.memory.cpu import (
    BYTES_PER_WEIGHT,
    decoding_threads,
    default_capacity,
    kv_bytes_per_token,
    memory_need,
)
from nimctl.core.memory.gpu import (
    TENSOR_PARALLEL,
    GpuShare,
    Limits,
    default_limits,
    gpu_memory_need,
)
from nimctl.core.memory.need import (
    ANY_CAPACITY,
    Capacity,
    CapacityWish,
    Grade,
    MemoryNeed,
)

__all__ = [
    "ANY_CAPACITY",
    "BYTES_PER_WEIGHT",
    "TENSOR_PARALLEL",
    "Capacity",
    "CapacityWish",
    "GpuShare",
    "Grade",
    "Limits",
    "MemoryNeed",
    "decoding_threads",
    "default_capacity",
    "default_limits",
    "gpu_memory_need",
    "kv_bytes_per_token",
    "memory_need",
]
