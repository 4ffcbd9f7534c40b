"""Weights: read in chunks of rows, and encoded for GGUF.

Plain reads instead of a memory map: a map keeps each touched page in the resident set, and a file
that shrinks meanwhile would end the process by SIGBUS instead of raising.
"""

import math
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import gguf
import numpy as np
import numpy.typing as npt

from nimctl.core.errors import UnsupportedModelError
from nimctl.engines.gguf.architecture import TensorRule
from nimctl.engines.gguf.conversion import TensorCopy
from nimctl.engines.gguf.refusals import corrupt
from nimctl.engines.gguf.safetensors import StoredTensor

Precision: TypeAlias = Literal["f16", "q8_0"]
Encoding: TypeAlias = Literal["f32", "f16", "q8_0"]
Floats: TypeAlias = npt.NDArray[np.float32]

CHUNK_BYTES = 16 * 2**20

_STORED: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
_Q8_0_BLOCK = 32
_Q8_0_BLOCK_BYTES = 34
_LARGEST_F16 = 65504.0
# A q8_0 block is 32 signed bytes times one f16.
_LARGEST: dict[Encoding, float] = {
    "f32": float(np.finfo(np.float32).max),
    "f16": _LARGEST_F16,
    "q8_0": 127 * _LARGEST_F16,
}


def encoding(shape: tuple[int, ...], precision: Precision) -> Encoding:
    """What a tensor of this shape (row-major) becomes: vectors stay f32, as in llama.cpp."""
    if len(shape) == 1:
        return "f32"
    return "f16" if shape[-1] % _Q8_0_BLOCK else precision


def encoded_bytes(shape: tuple[int, ...], target: Encoding) -> int:
    """The size of a tensor in GGUF, without padding."""
    elements = math.prod(shape)
    if target == "q8_0":
        return elements // _Q8_0_BLOCK * _Q8_0_BLOCK_BYTES
    return elements * (4 if target == "f32" else 2)


def encode(
    copy: TensorCopy, target: Encoding, *, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[bytes]:
    """Convert a tensor chunk by chunk, each of about `chunk_bytes` of the source.

    Raises:
        UnsupportedModelError: A value is beyond the range of `target`.
        VerificationError: A value is no finite number, or the file is shorter than its header says.
    """
    for rows in _chunks(copy.stored, copy.rule, chunk_bytes):
        _check_range(copy.stored, rows, target)
        if copy.rule.rotated_heads:
            head_size = copy.rule.shape[0] // copy.rule.rotated_heads
            yield _encode(pair_neighbours(rows, head_size), target)
        else:
            yield _encode(rows, target)


def pair_neighbours(rows: Floats, head_size: int) -> Floats:
    """Reorder the rows (heads x head_size, columns) of a query or key projection.

    transformers rotates element i of a head with i + head_size / 2, llama.cpp's llama graph 2i
    with 2i + 1.
    """
    halves = rows.reshape(-1, 2, head_size // 2, rows.shape[-1])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def _chunks(tensor: StoredTensor, rule: TensorRule, chunk_bytes: int) -> Iterator[Floats]:
    """Read whole rows (of one element in a vector), and whole heads where their rows move."""
    dtype = _STORED[tensor.dtype]
    total = rule.shape[0]
    columns = math.prod(rule.shape[1:])
    unit = total // rule.rotated_heads if rule.rotated_heads else 1
    step = max(chunk_bytes // (columns * dtype.itemsize * unit), 1) * unit
    for first in range(0, total, step):
        count = min(step, total - first) * columns
        offset = tensor.offset + first * columns * dtype.itemsize
        stored = np.fromfile(tensor.file, dtype, count, offset=offset)
        if stored.size < count:
            raise corrupt(tensor.file, f"it ends inside {tensor.name}")
        yield _floats(stored).reshape(-1, columns)


def _floats(stored: npt.NDArray[np.generic]) -> Floats:
    if stored.dtype == _STORED["BF16"]:
        # bfloat16 is the upper half of float32.
        bits = stored.astype(np.uint32)
        bits <<= 16
        return bits.view(np.float32)
    return stored.astype(np.float32, copy=False)


def _check_range(tensor: StoredTensor, rows: Floats, target: Encoding) -> None:
    peak = max(float(rows.max()), -float(rows.min()))
    if peak <= _LARGEST[target]:
        return
    if not math.isfinite(peak):
        raise corrupt(tensor.file, f"{tensor.name} has values that are no finite numbers")
    raise UnsupportedModelError(
        f"{tensor.name} has the value {peak:g}, more than {target} can hold",
        cause=f"the largest number of {target} is {_LARGEST[target]:g}",
        hint="nimctl build-engine MODEL --precision q8_0" if target == "f16" else None,
    )


def _encode(rows: Floats, target: Encoding) -> bytes:
    match target:
        case "f32":
            return rows.tobytes()
        case "f16":
            return rows.astype(np.float16).tobytes()
        case "q8_0":
            quantised = gguf.quants.quantize(rows, gguf.GGMLQuantizationType.Q8_0)
            return bytes(quantised)
