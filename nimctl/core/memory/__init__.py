"""How much memory a model takes: `need` (the values), `gpu` and `cpu` (one model each)."""

from nimctl.core.memory.cpu import (
    decoding_threads,
    default_capacity,
    kv_bytes_per_token,
    memory_need,
    weights_bytes,
)
from nimctl.core.memory.gpu import (
    TENSOR_PARALLEL,
    GpuShare,
    Limits,
    default_limits,
    gpu_memory_need,
)
from nimctl.core.memory.gpu import weights_bytes as gpu_weights_bytes
from nimctl.core.memory.need import (
    ANY_CAPACITY,
    Capacity,
    CapacityWish,
    Grade,
    MemoryNeed,
)

__all__ = [
    "ANY_CAPACITY",
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
    "gpu_weights_bytes",
    "kv_bytes_per_token",
    "memory_need",
    "weights_bytes",
]
