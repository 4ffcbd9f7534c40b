"""Zip archives, read from front to back.

Entries are unpacked by their local headers. The central directory, which comes last and which
other programs go by, must then tell the same.
"""

from nimctl.store.extract import zip_records as records
from nimctl.store.extract.deflate import PIECE_BYTES, RAW, Inflater
from nimctl.store.extract.limits import Inflation
from nimctl.store.extract.refusals import malformed, refused
from nimctl.store.extract.staging import Staging
from nimctl.store.extract.stream import Steps, Stream
from nimctl.store.fast_zlib import crc32

_SIGNATURE_BYTES = 4
_LONGEST_DESCRIPTOR_BYTES = 24
_MAX_EXTENSION_BYTES = 64 * 1024


def read_zip(stream: Stream, staging: Staging, inflation: Inflation) -> Steps[None]:
    """Unpack a zip archive; nothing may stand before, between or behind its records.

    Raises:
        VerificationError: It is malformed or cut off, or has what is not unpacked.
    """
    entries: dict[int, records.Entry] = {}
    while (signature := (yield from _signature(stream))) == records.LOCAL:
        offset = stream.position - _SIGNATURE_BYTES
        entries[offset] = yield from _unpack(stream, staging, inflation)
    yield from _check_directory(stream, signature, entries)
    if (yield from stream.some(1)):
        raise malformed("something follows the end of the zip archive")


def _unpack(stream: Stream, staging: Staging, inflation: Inflation) -> Steps[records.Entry]:
    header = yield from _local_header(stream)
    name = records.decoded(header.name)
    output = _Output(staging, name, header.size)
    if header.method == records.STORED:
        packed = yield from _copy(stream, output, header.size or 0)
    else:
        packed = yield from _inflate(stream, output, inflation, header.packed)
    output.end()
    entry = records.Entry(
        name=header.name, method=header.method, crc=output.crc, packed=packed, size=output.size
    )
    if header.crc is None:
        yield from _check_descriptor(stream, entry)
    elif (header.crc, header.packed, header.size) != (entry.crc, entry.packed, entry.size):
        raise _damaged(entry)
    return entry


class _Output:
    """Where an entry's bytes go: counted, with their checksum. Directories have none."""

    def __init__(self, staging: Staging, name: str, size: int | None) -> None:
        self.crc = 0
        self.size = 0
        self._staging = staging
        self._name = name
        self._is_directory = name.endswith("/")
        if self._is_directory:
            staging.add_directory(name)
        else:
            staging.begin(name, size)

    def write(self, piece: bytes | memoryview) -> None:
        if self._is_directory:
            raise refused(self._name, "it is a directory with content")
        self.crc = crc32(piece, self.crc)
        self.size += len(piece)
        self._staging.write(piece)

    def end(self) -> None:
        if not self._is_directory:
            self._staging.end()


def _copy(stream: Stream, output: _Output, size: int) -> Steps[int]:
    left = size
    while left:
        piece = yield from stream.body(min(left, PIECE_BYTES))
        output.write(piece)
        left -= len(piece)
    return size


def _inflate(
    stream: Stream, output: _Output, inflation: Inflation, packed: int | None
) -> Steps[int]:
    """Inflate an entry, of `packed` bytes where that is known; how many they were."""
    inflater = Inflater(RAW)
    begin = stream.position
    while not inflater.is_over:
        used = stream.position - begin
        most = PIECE_BYTES if packed is None else min(PIECE_BYTES, packed - used)
        if not most:
            raise malformed("an entry's deflate stream is longer than it claims")
        data = yield from stream.look(most)
        for piece in inflater.pieces(data):
            inflation.unpacked(len(piece))
            output.write(piece)
        stream.used(len(data) - len(inflater.behind))
    return stream.position - begin


def _local_header(stream: Stream) -> Steps[records.LocalHeader]:
    fields = bytes((yield from stream.take(records.LOCAL_FIELDS.size)))
    name_bytes, extra_bytes = records.LOCAL_FIELDS.unpack(fields)[-2:]
    name = bytes((yield from stream.take(name_bytes)))
    extra = bytes((yield from stream.take(extra_bytes)))
    return records.local_header(fields, name, extra)


def _check_descriptor(stream: Stream, entry: records.Entry) -> Steps[None]:
    # A central directory and its end follow, so that there are always as many bytes.
    ahead = bytes((yield from stream.peek(_LONGEST_DESCRIPTOR_BYTES)))
    for form in records.descriptors(entry):
        if ahead.startswith(form):
            stream.used(len(form))
            return
    if entry.method == records.STORED:
        shown = records.decoded(entry.name)
        raise refused(shown, "its size stands behind it, so that nobody can tell where it ends")
    raise _damaged(entry)


def _check_directory(
    stream: Stream, signature: bytes, entries: dict[int, records.Entry]
) -> Steps[None]:
    """Compare the central directory, whose first signature was taken, with what was unpacked."""
    begin, count = stream.position - _SIGNATURE_BYTES, len(entries)
    while signature == records.CENTRAL:
        offset, entry = yield from _central_entry(stream)
        if entries.pop(offset, None) != entry:
            shown = records.decoded(entry.name)
            raise malformed(f"its directory tells something else about {shown!r} than the entry")
        signature = yield from _signature(stream)
    if entries:
        raise malformed("its directory leaves an entry out")
    size = stream.position - _SIGNATURE_BYTES - begin
    end = yield from _end(stream, signature)
    if end != records.End(entries=count, size=size, offset=begin):
        raise malformed("the record at its end is wrong about the directory")


def _central_entry(stream: Stream) -> Steps[tuple[int, records.Entry]]:
    fields = bytes((yield from stream.take(records.CENTRAL_FIELDS.size)))
    name_bytes, extra_bytes, comment_bytes = records.CENTRAL_FIELDS.unpack(fields)[9:12]
    name = bytes((yield from stream.take(name_bytes)))
    extra = bytes((yield from stream.take(extra_bytes)))
    yield from stream.skip(comment_bytes)
    return records.central_entry(fields, name, extra)


def _end(stream: Stream, signature: bytes) -> Steps[records.End]:
    zip64 = None
    if signature == records.ZIP64_END:
        zip64 = yield from _zip64_end(stream)
        signature = yield from _signature(stream)
    if signature != records.END:
        raise malformed("a record of it is unknown, or it is no zip")
    fields = bytes((yield from stream.take(records.END_FIELDS.size)))
    yield from stream.skip(records.END_FIELDS.unpack(fields)[-1])  # the comment
    return records.end_record(fields, zip64)


def _zip64_end(stream: Stream) -> Steps[records.End]:
    offset = stream.position - _SIGNATURE_BYTES
    fields = bytes((yield from stream.take(records.ZIP64_END_FIELDS.size)))
    extension_bytes = records.zip64_extension_bytes(fields)
    if not 0 <= extension_bytes <= _MAX_EXTENSION_BYTES:
        raise malformed("its zip64 record has a wrong size")
    yield from stream.skip(extension_bytes)
    signature = yield from _signature(stream)
    locator = bytes((yield from stream.take(records.ZIP64_LOCATOR_FIELDS.size)))
    if (signature, locator) != records.zip64_locator(offset):
        raise malformed("its zip64 locator is wrong")
    return records.zip64_end_record(fields)


def _signature(stream: Stream) -> Steps[bytes]:
    return bytes((yield from stream.take(_SIGNATURE_BYTES)))


def _damaged(entry: records.Entry) -> Exception:
    return malformed(f"{records.decoded(entry.name)!r} has a wrong checksum or size")
