"""GGUF metadata, before it is written.

Python's types name GGUF's: bool, int (uint32), float (float32), str, and lists of str, float or
int (int32).
"""

from typing import TypeAlias

MetadataValue: TypeAlias = bool | int | float | str | list[str] | list[float] | list[int]
Metadata: TypeAlias = dict[str, MetadataValue]
