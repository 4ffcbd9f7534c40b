"""The header of a safetensors file: where each tensor lies, or why the file is refused.

Format: https://huggingface.co/docs/safetensors/index#format. A file is refused unless its tensors
cover the data exactly: no hole, no overlap, no rest. The reference implementation does the same.
"""

import json
from typing import Annotated, Any

import msgspec

from nimctl.core.errors import VerificationError
from nimctl.core.value import Value

LENGTH_BYTES = 8
# The limit of the reference implementation.
_LARGEST_HEADER_BYTES = 100_000_000
_METADATA = "__metadata__"
# More values than any file has bytes; the reference implementation refuses such shapes as well.
_TOO_MANY_VALUES = 2**64

# The names are those of safetensors 0.8.0.
_DTYPE_BITS = {
    "F4": 4,
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8"), 8),
    **dict.fromkeys(("F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}

_Natural = Annotated[int, msgspec.Meta(ge=0)]


class TensorSpan(Value):
    """One tensor: row-major, its bytes from `start` to `stop`, counted from the header's end."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class _Entry(msgspec.Struct):
    dtype: str
    shape: tuple[_Natural, ...]
    data_offsets: tuple[_Natural, _Natural]


def header_bytes(file: str, first_bytes: bytes, file_bytes: int) -> int:
    """How long the header is of a file that has `file_bytes` and begins with `first_bytes`.

    Raises:
        VerificationError: It is beyond the limit, or beyond the end of the file.
    """
    length = int.from_bytes(first_bytes[:LENGTH_BYTES], "little")
    if length > _LARGEST_HEADER_BYTES or LENGTH_BYTES + length > file_bytes:
        raise malformed(file, f"it has {file_bytes} bytes, but its header claims {length}")
    return length


def parse_header(file: str, header: bytes, data_bytes: int) -> dict[str, TensorSpan]:
    """Decode a header, behind which `data_bytes` follow.

    Raises:
        VerificationError: The header is malformed.
    """
    spans = {name: _span(file, name, entry) for name, entry in _decode(file, header).items()}
    start = LENGTH_BYTES + len(header)
    position = 0
    for name, span in sorted(spans.items(), key=lambda one: (one[1].start, one[1].stop)):
        if span.start != position:
            raise malformed(
                file,
                f"{shown(name)} starts at {start + span.start}, expected at {start + position}",
            )
        position = span.stop
    if position != data_bytes:
        raise malformed(
            file, f"its tensors end at byte {start + position}, the file at {start + data_bytes}"
        )
    return spans


def malformed(file: str, why: str) -> VerificationError:
    """The file contradicts its format."""
    return VerificationError(
        f"{file} is malformed", cause=why, hint="download it again, or tell its author"
    )


def shown(name: str) -> str:
    """A name as it can be printed."""
    return name if name.isprintable() else ascii(name)


def _decode(file: str, header: bytes) -> dict[str, Any]:
    if not header.startswith(b"{"):
        raise malformed(file, "its header does not begin with {")
    try:
        entries: dict[str, Any] = msgspec.json.decode(header, type=dict[str, Any])
        # The format forbids keys that are there twice; msgspec takes the last of them.
        json.loads(header.decode(), object_pairs_hook=_refuse_twins)
        msgspec.convert(entries.pop(_METADATA, {}), dict[str, str])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise malformed(file, f"its header: {error}") from error
    return entries


def _refuse_twins(pairs: list[tuple[str, object]]) -> None:
    keys: set[str] = set()
    for key, _ in pairs:
        if key in keys:
            raise ValueError(f"{shown(key)} is there twice")
        keys.add(key)


def _span(file: str, name: str, raw: object) -> TensorSpan:
    try:
        entry = msgspec.convert(raw, _Entry)
    except msgspec.ValidationError as error:
        raise malformed(file, f"{shown(name)}: {error}") from error
    bits = _DTYPE_BITS.get(entry.dtype)
    if bits is None:
        raise malformed(file, f"{shown(name)} has the unknown data type {shown(entry.dtype)}")
    start, stop = entry.data_offsets
    if (stop - start) * 8 != _count(entry.shape) * bits:
        raise malformed(
            file,
            f"{shown(name)} takes {stop - start} bytes, "
            f"but is {entry.dtype} of {list(entry.shape[:8])}",
        )
    return TensorSpan(dtype=entry.dtype, shape=entry.shape, start=start, stop=stop)


def _count(shape: tuple[int, ...]) -> int:
    """How many values there are; one too many to be true once they are beyond all bounds."""
    count = 1
    for length in shape:
        count *= length
        if count > _TOO_MANY_VALUES:
            return count
    return count
