"""What is pulled in benchmarks: the same bytes each time."""

import hashlib
import json
import multiprocessing
import random
import struct
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np

_BLOCK_BYTES = 2**23
_FILES = 4
# Of what gzip makes of bfloat16 weights: their mantissas are noise, their exponents are not.
_PACKED_SHARE = 0.79
_GZIP = 16 + zlib.MAX_WBITS

_Weights: TypeAlias = tuple[int, int]  # a seed, and how many bytes


def write_noise(path: Path, size: int) -> str:
    """Write bytes that cannot be compressed; their sha256."""
    generator = random.Random(path.name)  # noqa: S311 - test data
    digest = hashlib.sha256()
    with path.open("wb") as file:
        while size > 0:
            block = generator.randbytes(min(size, _BLOCK_BYTES))
            file.write(block)
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()


def write_tarball(path: Path, packed_bytes: int) -> str:
    """Write a tar.gz of about so many bytes, some files of weights; its sha256.

    Each block is a gzip member of its own, so that all processors can pack; in all other respects
    it is what `gzip -6` writes.
    """
    blocks = round(packed_bytes / _PACKED_SHARE / _FILES / _BLOCK_BYTES)
    digest = hashlib.sha256()
    with path.open("wb") as file, multiprocessing.Pool() as pool:
        for part in pool.imap(_packed, _pieces(max(1, blocks))):
            file.write(part)
            digest.update(part)
    return digest.hexdigest()


def _pieces(blocks: int) -> Iterator[bytes | _Weights]:
    weights_bytes = blocks * _BLOCK_BYTES
    for number in range(_FILES):
        header = _safetensors_header(weights_bytes)
        member = tarfile.TarInfo(f"model/model-{number + 1:05}-of-{_FILES:05}.safetensors")
        member.size = len(header) + weights_bytes
        yield member.tobuf() + header
        yield from ((number * blocks + block, _BLOCK_BYTES) for block in range(blocks))
    yield bytes(2 * tarfile.BLOCKSIZE)


def _safetensors_header(weights_bytes: int) -> bytes:
    """One block of a tar archive that says: all of it is one tensor."""
    tensor = {"dtype": "BF16", "shape": [weights_bytes // 2], "data_offsets": [0, weights_bytes]}
    size = tarfile.BLOCKSIZE - 8
    return struct.pack("<Q", size) + json.dumps({"weights": tensor}).ljust(size).encode()


def _packed(piece: bytes | _Weights) -> bytes:
    data = piece if isinstance(piece, bytes) else _weights(*piece)
    return zlib.compress(data, 6, wbits=_GZIP)


def _weights(seed: int, size: int) -> bytes:
    """Normally distributed numbers in bfloat16: the upper half of float32."""
    numbers = np.random.default_rng(seed).standard_normal(size // 2, dtype=np.float32) * 0.02
    return (numbers.view(np.uint32) >> 16).astype("<u2").tobytes()
