"""The table of GPUs, as data, and the questions that it answers.

One way: `part` -> `datacenter`, `workstation`, `geforce` (the rows) -> `lookup` -> `versions`.
A GPU is known by its PCI device first and by its key second, never by a part of its name.
"""

from nimctl.core.gpus.lookup import (
    PARTS,
    VENDOR,
    by_device,
    by_key,
    by_name,
    find,
    identify,
    keys,
    means,
    part_of,
)
from nimctl.core.gpus.part import GpuPart
from nimctl.core.gpus.versions import suits

__all__ = [
    "PARTS",
    "VENDOR",
    "GpuPart",
    "by_device",
    "by_key",
    "by_name",
    "find",
    "identify",
    "keys",
    "means",
    "part_of",
    "suits",
]
