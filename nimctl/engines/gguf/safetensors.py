"""Where the tensors of a safetensors checkpoint lie.

Format: https://huggingface.co/docs/safetensors/index#format. As the reference implementation does,
a file is refused unless its tensors cover the data exactly: no hole, no overlap, no rest.
"""

import math
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import msgspec

from nimctl.core.value import Value
from nimctl.engines.gguf.jsonfile import read_json
from nimctl.engines.gguf.refusals import corrupt, missing, unsupported

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

_LENGTH_BYTES = 8
# The limit of the reference implementation.
_LARGEST_HEADER_BYTES = 100_000_000

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


class StoredTensor(Value):
    """One tensor in a file: `offset` and `size` in bytes from the file's start; row-major."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[_Natural]
    data_offsets: tuple[_Natural, _Natural]


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


def find_tensors(checkpoint: Path) -> dict[str, StoredTensor]:
    """Locate all tensors of a checkpoint, by name.

    Raises:
        UnsupportedModelError: The checkpoint has no safetensors.
        VerificationError: A file is malformed or missing, or the index contradicts a shard.
    """
    single = checkpoint / SINGLE_FILE
    if single.exists():
        return read_header(single)
    index = checkpoint / INDEX_FILE
    if not index.exists():
        raise unsupported(f"{checkpoint} has neither {SINGLE_FILE} nor {INDEX_FILE}")
    weight_map = read_json(index, _Index).weight_map
    shards = {name: _read_shard(index, name) for name in sorted(set(weight_map.values()))}
    for tensor, shard in weight_map.items():
        if tensor not in shards[shard]:
            raise corrupt(index, f"it places {tensor} in {shard}, which does not have it")
    return {tensor: shards[shard][tensor] for tensor, shard in weight_map.items()}


def read_header(file: Path) -> dict[str, StoredTensor]:
    """Locate the tensors of one file.

    Raises:
        VerificationError: The header is malformed.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        start = _LENGTH_BYTES + length
        if length > _LARGEST_HEADER_BYTES or start > size:
            raise corrupt(file, f"it has {size} bytes, but its header claims {length}")
        header = stream.read(length)
    return parse_header(file, header, start=start, end=size)


def parse_header(file: Path, header: bytes, *, start: int, end: int) -> dict[str, StoredTensor]:
    """Decode a header whose data lie in the bytes from `start` to `end` of `file`.

    Raises:
        VerificationError: The header is malformed.
    """
    entries = _decode(file, header)
    tensors = {
        name: StoredTensor(
            name=name,
            file=file,
            dtype=entry.dtype,
            shape=tuple(entry.shape),
            offset=start + entry.data_offsets[0],
            size=_stored_bytes(file, name, entry),
        )
        for name, entry in entries.items()
    }
    position = start
    for tensor in sorted(tensors.values(), key=lambda one: (one.offset, one.size)):
        if tensor.offset != position:
            raise corrupt(file, f"{tensor.name} starts at {tensor.offset}, expected at {position}")
        position += tensor.size
    if position != end:
        raise corrupt(file, f"its tensors end at byte {position}, the file at {end}")
    return tensors


def _decode(file: Path, header: bytes) -> dict[str, _Entry]:
    try:
        raw: dict[str, Any] = msgspec.json.decode(header, type=dict[str, Any])
        raw.pop("__metadata__", None)
        return msgspec.convert(raw, dict[str, _Entry])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise corrupt(file, f"its header: {error}") from error


def _stored_bytes(file: Path, name: str, entry: _Entry) -> int:
    bits = _DTYPE_BITS.get(entry.dtype)
    if bits is None:
        raise corrupt(file, f"{name} has the unknown data type {entry.dtype}")
    start, stop = entry.data_offsets
    if (stop - start) * 8 != math.prod(entry.shape) * bits:
        raise corrupt(
            file, f"{name} takes {stop - start} bytes, but is {entry.dtype} of {entry.shape}"
        )
    return stop - start


def _read_shard(index: Path, name: str) -> dict[str, StoredTensor]:
    if PurePosixPath(name).name != name:
        raise corrupt(index, f"the shard {name!r} is not a plain file name")
    shard = index.with_name(name)
    if not shard.exists():
        raise missing(str(shard), cause=f"{index.name} names it")
    return read_header(shard)
