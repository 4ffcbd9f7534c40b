"""Tar archives: v7, ustar, pax, and GNU's long names."""

from nimctl.core.value import Value
from nimctl.store.extract.pax import parse_records
from nimctl.store.extract.refusals import malformed, refused
from nimctl.store.extract.staging import Staging
from nimctl.store.extract.stream import Steps, Stream
from nimctl.store.extract.tar_header import BLOCK_BYTES, Header, parse_header

_FILE_TYPES = ("0", "\0", "7")  # 7, a contiguous file, is one like any other (POSIX)
_DIRECTORY = "5"
_REFUSED_TYPES = {
    "1": "it is a hard link",
    "2": "it is a symbolic link",
    "3": "it is a device",
    "4": "it is a device",
    "6": "it is a FIFO",
    "S": "it is a sparse file",
}
# What entries for other entries may hold; Go's archive/tar has the same bound.
_MAX_EXTENSION_BYTES = 1024 * 1024
_PIECE_BYTES = 1024 * 1024


class _Entry(Value):
    name: str
    size: int
    is_directory: bool


def read_tar(stream: Stream, staging: Staging) -> Steps[None]:
    """Unpack a tar archive; behind its end, only zeros may follow.

    Raises:
        VerificationError: It is malformed or cut off, or has what is not unpacked.
    """
    while entry := (yield from _next_entry(stream)):
        if entry.is_directory:
            staging.add_directory(entry.name)
        else:
            yield from _unpack(stream, staging, entry)
    while padding := (yield from stream.some(_PIECE_BYTES)):
        if bytes(padding).strip(b"\0"):
            raise malformed("something follows the end of the tar archive")
        stream.used(len(padding))


def _unpack(stream: Stream, staging: Staging, entry: _Entry) -> Steps[None]:
    staging.begin(entry.name, entry.size)
    left = entry.size
    while left:
        piece = yield from stream.body(min(left, _PIECE_BYTES))
        staging.write(piece)
        left -= len(piece)
    staging.end()
    yield from stream.skip(_padding(entry.size))


def _next_entry(stream: Stream) -> Steps[_Entry | None]:
    """Read the next entry's header, with those before it that change it; None at the end."""
    long_name: bytes | None = None
    records: dict[bytes, bytes] = {}
    while True:
        header = parse_header(bytes((yield from stream.take(BLOCK_BYTES))))
        if header is None:
            if any((yield from stream.take(BLOCK_BYTES))):
                raise malformed("a single block of zeros stands between its entries")
            if long_name or records:
                raise malformed("a long name or an extended header has no entry")
            return None
        match header.type:
            case "L":  # GNU: a long name
                long_name = (yield from _extension(stream, header)).partition(b"\0")[0]
            case "K":  # GNU: a long link
                yield from _extension(stream, header)
            case "x" | "X":  # pax, and as Solaris writes it
                records |= parse_records((yield from _extension(stream, header)))
            case "g":
                _check_global(parse_records((yield from _extension(stream, header))))
            case _:
                return _entry(header, long_name, records)


def _extension(stream: Stream, header: Header) -> Steps[bytes]:
    if header.size > _MAX_EXTENSION_BYTES:
        raise malformed(f"an extended header has {header.size} bytes")
    body = bytes((yield from stream.take(header.size)))
    yield from stream.skip(_padding(header.size))
    return body


def _check_global(records: dict[bytes, bytes]) -> None:
    """Refuse what would give all entries one name or size; anything else has no effect here."""
    if b"path" in records or b"size" in records or _is_sparse(records):
        raise malformed("a global header names a path or a size")


def _entry(header: Header, long_name: bytes | None, records: dict[bytes, bytes]) -> _Entry:
    if long_name is not None and records:
        # No program writes both, and readers disagree on which of them holds.
        raise malformed("an entry has both a GNU long name and an extended header")
    raw_name = long_name if long_name is not None else records.get(b"path", header.name)
    name = _decoded(raw_name)
    if _is_sparse(records):
        raise refused(name, _REFUSED_TYPES["S"])
    size = _size(records[b"size"]) if b"size" in records else header.size
    is_directory = header.type == _DIRECTORY or name.endswith("/")
    if header.type not in (*_FILE_TYPES, _DIRECTORY):
        raise refused(name, _REFUSED_TYPES.get(header.type, f"its type is {header.type!r}"))
    if is_directory and size:
        raise refused(name, "it is a directory with content")
    return _Entry(name=name, size=size, is_directory=is_directory)


def _decoded(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise refused(name.decode(errors="backslashreplace"), "its name is not UTF-8") from error


def _is_sparse(records: dict[bytes, bytes]) -> bool:
    return any(key.startswith(b"GNU.sparse.") for key in records)


def _size(value: bytes) -> int:
    if not value.isdigit() or len(value) > 20:  # noqa: PLR2004 - digits of 2**64
        raise malformed("an extended header's size is no number")
    return int(value)


def _padding(size: int) -> int:
    return -size % BLOCK_BYTES
