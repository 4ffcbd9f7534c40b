"""The members of a zip archive, read in place.

Programs find members by the central directory at the end. Torch's reader, Python's, and those that
read from front to back do not find the same one in every file; so an archive is only read if its
records account for each of its bytes.
"""

import io
from collections.abc import Iterator
from itertools import pairwise
from struct import Struct
from typing import NamedTuple

from nimctl.core.errors import VerificationError
from nimctl.store.extract import zip_records as records
from nimctl.store.formats.budget import Budget
from nimctl.store.formats.findings import LimitError, Member, UnreadableError
from nimctl.store.formats.sources import LONGEST_FILE_BYTES, RAW, exactly, inflated, stretch

_SIGNATURE_BYTES = 4
# Read at once, because a source that is inflated begins anew to go back.
_TAIL_BYTES = (
    records.ZIP64_END_FIELDS.size
    + records.ZIP64_LOCATOR_FIELDS.size
    + records.END_FIELDS.size
    + 3 * _SIGNATURE_BYTES
)
_LONGEST_DESCRIPTOR_BYTES = 24


class _Directory(NamedTuple):
    start: int
    stop: int
    entries: int


def zip_members(source: io.BufferedReader, budget: Budget) -> Iterator[Member]:
    """Give each file of an archive.

    Raises:
        UnreadableError: The archive is malformed, or programs may not agree on what it holds.
    """
    try:
        directory = _find_directory(source)
        entries = _entries(source, directory, budget)
        bounds = [*(offset for offset, _ in entries), directory.start]
        if bounds[0] != 0:
            raise UnreadableError("something stands before its first member")
        for (_, entry), (offset, end) in zip(entries, pairwise(bounds), strict=True):
            start = _skip_local_header(source, entry, offset)
            packed = stretch(source, start, entry.packed)
            is_stored = entry.method == records.STORED
            yield Member(
                records.decoded(entry.name),
                packed if is_stored else inflated(packed, RAW, budget),
            )
            # Last, so that an inflated source need not go back.
            _check_behind(source, entry, start + entry.packed, end)
    except VerificationError as error:
        raise UnreadableError(error.cause or error.message) from error


def _find_directory(source: io.BufferedReader) -> _Directory:
    tail_start = max(0, source.seek(0, io.SEEK_END) - _TAIL_BYTES)
    source.seek(tail_start)
    rest, end = _split(source.read(_TAIL_BYTES), records.END, records.END_FIELDS)
    if end is None:
        raise UnreadableError("it is cut off, or something follows its end")
    rest, locator = _split(rest, records.ZIP64_LOCATOR, records.ZIP64_LOCATOR_FIELDS)
    zip64 = None
    if locator is not None:
        rest, wide = _split(rest, records.ZIP64_END, records.ZIP64_END_FIELDS)
        if wide is None or records.zip64_locator(tail_start + len(rest))[1] != locator:
            raise UnreadableError("the records at its end contradict each other")
        zip64 = records.zip64_end_record(wide)
    directory = records.end_record(end, zip64)
    stop = tail_start + len(rest)
    if directory.offset + directory.size != stop:
        raise UnreadableError("its directory does not reach to its end")
    return _Directory(directory.offset, stop, directory.entries)


def _split(tail: bytes, signature: bytes, fields: Struct) -> tuple[bytes, bytes | None]:
    """What stands before the record that the tail ends in, and its fields, if there is one."""
    start = len(tail) - len(signature) - fields.size
    if start < 0 or not tail.startswith(signature, start):
        return tail, None
    return tail[:start], tail[start + len(signature) :]


def _record(source: io.BufferedReader, start: int, signature: bytes, size: int) -> bytes | None:
    """The fields of a record, if it is there."""
    if not 0 <= start < LONGEST_FILE_BYTES:
        return None
    source.seek(start)
    if source.read(_SIGNATURE_BYTES) != signature:
        return None
    return exactly(source, size)


def _entries(
    source: io.BufferedReader, directory: _Directory, budget: Budget
) -> list[tuple[int, records.Entry]]:
    """The offsets of local headers, each with what the directory says; in order."""
    entries = []
    position = directory.start
    while position < directory.stop:
        budget.spend_member()
        fields = _record(source, position, records.CENTRAL, records.CENTRAL_FIELDS.size)
        if fields is None:
            raise UnreadableError("its directory is malformed")
        name_bytes, extra_bytes, comment_bytes = records.CENTRAL_FIELDS.unpack(fields)[9:12]
        if name_bytes > budget.limits.name_bytes:
            raise LimitError(f"a name has {name_bytes:,} bytes")
        name, extra = exactly(source, name_bytes), exactly(source, extra_bytes)
        entries.append(records.central_entry(fields, name, extra))
        position += _SIGNATURE_BYTES + len(fields) + name_bytes + extra_bytes + comment_bytes
    if position != directory.stop or len(entries) != directory.entries or not entries:
        raise UnreadableError("its directory is malformed")
    return sorted(entries, key=lambda one: one[0])


def _skip_local_header(source: io.BufferedReader, entry: records.Entry, offset: int) -> int:
    """Where the bytes of an entry begin, behind the header that must agree with it."""
    fields = _record(source, offset, records.LOCAL, records.LOCAL_FIELDS.size)
    if fields is None:
        raise UnreadableError("a member is not where its directory says")
    name_bytes, extra_bytes = records.LOCAL_FIELDS.unpack(fields)[-2:]
    name, extra = exactly(source, name_bytes), exactly(source, extra_bytes)
    header = records.local_header(fields, name, extra)
    # Python ends names at a NUL.
    if (name, header.method) != (entry.name, entry.method) or b"\0" in name:
        raise UnreadableError("a member contradicts its directory")
    return source.tell()


def _check_behind(source: io.BufferedReader, entry: records.Entry, stop: int, end: int) -> None:
    """Refuse what stands between two members, unless it is the first one's descriptor."""
    if not 0 <= end - stop <= _LONGEST_DESCRIPTOR_BYTES:
        raise UnreadableError("members overlap, or something stands between them")
    source.seek(stop)
    between = exactly(source, end - stop)
    if between and between not in records.descriptors(entry):
        raise UnreadableError("something stands between its members")
