"""Where the tensors of a safetensors checkpoint lie."""

from pathlib import Path, PurePosixPath

import msgspec

from nimctl.core import safetensors
from nimctl.core.value import Value
from nimctl.engines.gguf.jsonfile import read_json
from nimctl.engines.gguf.refusals import corrupt, missing, unsupported

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


class StoredTensor(Value):
    """One tensor in a file: `offset` and `size` in bytes from the file's start; row-major."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int


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
        length = safetensors.header_bytes(str(file), stream.read(safetensors.LENGTH_BYTES), size)
        header = stream.read(length)
    return parse_header(file, header, start=safetensors.LENGTH_BYTES + length, end=size)


def parse_header(file: Path, header: bytes, *, start: int, end: int) -> dict[str, StoredTensor]:
    """Decode a header whose data lie in the bytes from `start` to `end` of `file`.

    Raises:
        VerificationError: The header is malformed.
    """
    spans = safetensors.parse_header(str(file), header, end - start)
    return {
        name: StoredTensor(
            name=name,
            file=file,
            dtype=span.dtype,
            shape=span.shape,
            offset=start + span.start,
            size=span.stop - span.start,
        )
        for name, span in spans.items()
    }


def _read_shard(index: Path, name: str) -> dict[str, StoredTensor]:
    if PurePosixPath(name).name != name:
        raise corrupt(index, f"the shard {name!r} is not a plain file name")
    shard = index.with_name(name)
    if not shard.exists():
        raise missing(str(shard), cause=f"{index.name} names it")
    return read_header(shard)
