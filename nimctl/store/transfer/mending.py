"""What is still good of a damaged blob, so that only the rest is fetched again.

A download that came in ranges has a CRC-32 of each, which its workers computed anyway. They are
kept beside the blob as the state of a complete transfer: damage is found range by range, and a blob
becomes an unfinished transfer again by being given such a state.
"""

import contextlib
import os
from pathlib import Path

from msgspec.structs import replace

from nimctl.core.layout import Layout
from nimctl.store import fast_zlib
from nimctl.store.blobs import BlobStore
from nimctl.store.disk import translated_disk_errors
from nimctl.store.locks import try_lock
from nimctl.store.transfer.part import part_path, state_path
from nimctl.store.transfer.ranges import Piece
from nimctl.store.transfer.state import State, decode, encode

_CHUNK_BYTES = 2**20
_WRITABLE = 0o644


def keep_checksums(layout: Layout, sha256: str, complete: State) -> None:
    """Remember the checksums of a file of several ranges that is about to become a blob."""
    _write(layout.checksums(sha256), complete)


def damaged_pieces(blobs: BlobStore, sha256: str) -> tuple[Piece, ...]:
    """The pieces of a blob that are damaged; none where no checksums are known.

    Raises:
        FileNotFoundError: There is no such blob.
    """
    state = _checksums(blobs.layout, sha256)
    if state is None:
        return ()
    with blobs.path(sha256).open("rb") as blob:
        return tuple(one for one in state.pieces if _crc32(blob.fileno(), one) != one.crc32)


def reopen(blobs: BlobStore, sha256: str) -> bool:
    """Make a damaged blob an unfinished transfer that has what is good of it.

    Returns False, and changes nothing, where no checksums are known or there is such a transfer
    already.

    Raises:
        FileNotFoundError: There is no such blob.
        DiskFullError: Its bytes have other names too, and there is no room for a copy.
    """
    state = _checksums(blobs.layout, sha256)
    part = part_path(blobs.layout, sha256)
    if state is None:
        return False
    bad = damaged_pieces(blobs, sha256)
    good = tuple(piece for piece in state.pieces if piece not in bad)
    lock = try_lock(part)
    if lock is None:
        return False
    with contextlib.closing(lock), translated_disk_errors(part):
        if os.fstat(lock.descriptor).st_size:
            return False
        _write(state_path(part), replace(state, pieces=good, validator=None))
        _move(blobs.path(sha256), part, lock.descriptor)
        blobs.remove(sha256)
    return True


def _move(blob: Path, part: Path, descriptor: int) -> None:
    """Move the bytes; a copy of them where a model's directory has them too, as it is left alone.

    Whoever waits for the part's lock looks for the file anew when it has it (`locks`).
    """
    if blob.stat().st_nlink == 1:
        blob.chmod(_WRITABLE)
        blob.replace(part)
        return
    with blob.open("rb") as source:
        left = os.fstat(source.fileno()).st_size
        while left:
            left -= os.copy_file_range(source.fileno(), descriptor, left)


def _checksums(layout: Layout, sha256: str) -> State | None:
    try:
        return decode(layout.checksums(sha256).read_bytes())
    except FileNotFoundError:
        return None


def _crc32(descriptor: int, piece: Piece) -> int:
    crc32, position = 0, piece.start
    while position < piece.end:
        data = os.pread(descriptor, min(_CHUNK_BYTES, piece.end - position), position)
        if not data:
            break
        crc32 = fast_zlib.crc32(data, crc32)
        position += len(data)
    return crc32


def _write(path: Path, state: State) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_bytes(encode(state))
    new.replace(path)
