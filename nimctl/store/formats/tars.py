"""The members of a tar archive, read in place.

`tarfile` is not used: with some versions of Python, a hostile archive stalls it or fills the memory
(CVE-2024-6232, CVE-2025-8194). It is what NeMo and torch unpack with, though, so an archive that
it may take and this does not is no archive to trust.
"""

import io
import re
from collections.abc import Iterator

from nimctl.core.errors import VerificationError
from nimctl.store.extract.pax import parse_records
from nimctl.store.extract.tar_header import BLOCK_BYTES, Header, parse_header
from nimctl.store.formats.budget import Budget
from nimctl.store.formats.findings import LimitError, Member, UnreadableError, shown
from nimctl.store.formats.sources import LONGEST_FILE_BYTES, exactly, stretch

_FILE_TYPES = ("0", "\0", "7")
_EMPTY_TYPES = ("1", "2", "3", "4", "5", "6")  # links, devices, directories, FIFOs
_GNU_LONG_NAME, _GNU_LONG_LINK = "L", "K"
_EXTENSION_TYPES = (_GNU_LONG_NAME, "x", "X")  # pax, and as Solaris writes it
_OTHER_TYPES = (_GNU_LONG_LINK, "g")
_PATH, _SIZE = b"path", b"size"
_MAX_EXTENSION_BYTES = 1024 * 1024
_DIGITS = re.compile(rb"[0-9]{1,20}")
# In the tar archives of torch before 0.1.10, pickles and raw tensors alternate in this member
# (`legacy_load`, https://github.com/pytorch/pytorch/blob/v2.13.0/torch/serialization.py).
_OLD_TORCH_STORAGES = "storages"
_CHECKSUM = slice(148, 156)
_BASE_256 = (0o200, 0o377)


def may_be_tar(head: bytes) -> bool:
    """Whether `tarfile` may take a file that begins so, which is less strict than the format."""
    if len(head) < BLOCK_BYTES:
        return False
    field = head[_CHECKSUM]
    counted = head[: _CHECKSUM.start] + b" " * 8 + head[_CHECKSUM.stop : BLOCK_BYTES]
    if field[0] in _BASE_256:
        stated = int.from_bytes(field[1:], "big")
    else:
        try:
            stated = int(field.partition(b"\0")[0].strip() or b"0", 8)
        except ValueError:
            return False
    return stated in (sum(counted), sum(memoryview(counted).cast("b")))


def tar_members(source: io.BufferedReader, budget: Budget) -> Iterator[Member]:
    """Give each file of an archive; all but files is passed over.

    Raises:
        UnreadableError: The archive is malformed, or programs may not agree on what it holds.
    """
    try:
        yield from _members(source, budget)
    except VerificationError as error:
        raise UnreadableError(error.cause or error.message) from error


def _members(source: io.BufferedReader, budget: Budget) -> Iterator[Member]:
    position = 0
    records: dict[bytes, bytes] = {}
    while True:
        source.seek(position)
        header = parse_header(exactly(source, BLOCK_BYTES))
        position += BLOCK_BYTES
        if header is None:
            return
        budget.spend_member()
        size = header.size
        if header.type in _EXTENSION_TYPES:
            if records:
                # `tarfile` goes by the first, others by the last.
                raise UnreadableError("an entry has two extended headers")
            records = _extension(header.type, _body(source, size))
        elif header.type in _OTHER_TYPES:
            _check_global(header.type, _body(source, size))
        else:
            size = _size(header, records)
            name = _name(header, records, budget)
            if _is_file(header, name, size):
                yield Member(name, stretch(source, position, size))
            records = {}
        position += size + -size % BLOCK_BYTES


def _body(source: io.BufferedReader, size: int) -> bytes:
    if size > _MAX_EXTENSION_BYTES:
        raise LimitError(f"an extended header has {size:,} bytes")
    return exactly(source, size)


def _extension(type_flag: str, body: bytes) -> dict[bytes, bytes]:
    if type_flag == _GNU_LONG_NAME:
        return {_PATH: body.partition(b"\0")[0]}
    records = parse_records(body)
    if _is_sparse(records):
        raise UnreadableError("it holds a sparse file")
    return records


def _check_global(type_flag: str, body: bytes) -> None:
    if type_flag == _GNU_LONG_LINK:
        return
    records = parse_records(body)
    if _SIZE in records or _PATH in records or _is_sparse(records):
        raise UnreadableError("a header for all entries names a path or a size")


def _is_sparse(records: dict[bytes, bytes]) -> bool:
    return any(key.startswith(b"GNU.sparse.") for key in records)


def _is_file(header: Header, name: str, size: int) -> bool:
    if header.type in _FILE_TYPES:
        # `tarfile` takes a name with a slash behind for a directory, and what follows for headers.
        if size and (header.name.endswith(b"/") or name.endswith("/")):
            raise UnreadableError(f"its directory {shown(name)} has a size")
        if name == _OLD_TORCH_STORAGES:
            raise UnreadableError("torch gave its format up in 2017, and nimctl cannot check it")
        return True
    if header.type not in _EMPTY_TYPES:
        raise UnreadableError(f"its entry {shown(name)} has the type {header.type!r}")
    if size:
        raise UnreadableError(f"its entry {shown(name)} is no file, but has a size")
    return False


def _size(header: Header, records: dict[bytes, bytes]) -> int:
    text = records.get(_SIZE)
    if text is not None and not _DIGITS.fullmatch(text):
        raise UnreadableError("an extended header's size is no number")
    size = header.size if text is None else int(text)
    if size > LONGEST_FILE_BYTES:
        raise UnreadableError(f"a size is {size}")
    return size


def _name(header: Header, records: dict[bytes, bytes], budget: Budget) -> str:
    name = records.get(_PATH, header.name)
    if len(name) > budget.limits.name_bytes:
        raise LimitError(f"a name has {len(name):,} bytes")
    return name.decode(errors="backslashreplace").removeprefix("./")
