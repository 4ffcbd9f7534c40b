"""The records of a zip archive: bytes to values.

Format: APPNOTE 6.3.10, https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, whose section
numbers stand below.
"""

import stat
import struct

from nimctl.core.value import Value
from nimctl.store.extract.refusals import malformed, refused

LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
ZIP64_END, ZIP64_LOCATOR, DESCRIPTOR = b"PK\x06\x06", b"PK\x06\x07", b"PK\x07\x08"
STORED, DEFLATED = 0, 8

# Each without its signature, 4.3.7, 4.3.12, 4.3.16, 4.3.14 (up to its extensible part), 4.3.15.
LOCAL_FIELDS = struct.Struct("<5H3I2H")
CENTRAL_FIELDS = struct.Struct("<6H3I5H2I")
END_FIELDS = struct.Struct("<4H2IH")
ZIP64_END_FIELDS = struct.Struct("<Q2H2I4Q")
ZIP64_LOCATOR_FIELDS = struct.Struct("<IQI")
_ZIP64_END_COUNTED_BYTES = ZIP64_END_FIELDS.size - 8  # its first field does not count itself

_ENCRYPTED, _BEHIND, _PATCHED, _STRONG, _MASKED = 1 << 0, 1 << 3, 1 << 5, 1 << 6, 1 << 13
_IN_ZIP64, _IN_ZIP64_16 = 0xFFFFFFFF, 0xFFFF
_ZIP64_EXTRA = 0x0001


class LocalHeader(Value):
    """What stands before an entry's bytes.

    `crc` is None if it follows the bytes, in a descriptor. So are `packed` and `size` (in bytes)
    then, unless the entry is stored: nothing else tells where such an entry ends. Info-ZIP writes
    empty files so.
    """

    name: bytes
    method: int
    crc: int | None
    packed: int | None
    size: int | None


class Entry(Value):
    """An entry as both its bytes and the central directory tell it; sizes in bytes."""

    name: bytes
    method: int
    crc: int
    packed: int
    size: int


class End(Value):
    """Where the central directory is said to be: its entries, bytes and offset."""

    entries: int
    size: int
    offset: int


def local_header(fields: bytes, name: bytes, extra: bytes) -> LocalHeader:
    """Read a local header.

    Raises:
        VerificationError: It is malformed, or the entry is encrypted or compressed in a way that
            is not supported.
    """
    _, flags, method, _, _, crc, packed, size, _, _ = LOCAL_FIELDS.unpack(fields)
    shown = decoded(name)
    if flags & (_ENCRYPTED | _STRONG | _MASKED):
        raise refused(shown, "it is encrypted")
    if flags & _PATCHED or method not in (STORED, DEFLATED):
        raise refused(shown, f"its compression, method {method}, is not supported")
    size, packed = _with_zip64(extra, [size, packed])
    if not flags & _BEHIND:
        return LocalHeader(name=name, method=method, crc=crc, packed=packed, size=size)
    is_known = method == STORED
    return LocalHeader(
        name=name,
        method=method,
        crc=None,
        packed=packed if is_known else None,
        size=size if is_known else None,
    )


def central_entry(fields: bytes, name: bytes, extra: bytes) -> tuple[int, Entry]:
    """Read an entry of the central directory, and the offset of its local header.

    Raises:
        VerificationError: It is malformed, or neither a regular file nor a directory.
    """
    values = CENTRAL_FIELDS.unpack(fields)
    _, _, _, method, _, _, crc, packed, size = values[:9]
    _, _, _, disk, _, attributes, offset = values[9:]
    size, packed, offset = _with_zip64(extra, [size, packed, offset])
    if disk not in (0, _IN_ZIP64_16):
        raise malformed("it is one of several parts")
    kind = stat.S_IFMT(attributes >> 16)  # 0 where it was not made on Unix
    is_directory = name.endswith(b"/")
    if kind not in (0, stat.S_IFDIR if is_directory else stat.S_IFREG):
        raise refused(decoded(name), "it is a link or another special file")
    return offset, Entry(name=name, method=method, crc=crc, packed=packed, size=size)


def end_record(fields: bytes, zip64: End | None) -> End:
    """Read the record that ends an archive, but for its comment.

    Raises:
        VerificationError: It is one of several parts, or contradicts the zip64 record before it.
    """
    disk, first_disk, here, entries, size, offset, _ = END_FIELDS.unpack(fields)
    if disk not in (0, _IN_ZIP64_16) or first_disk not in (0, _IN_ZIP64_16) or here != entries:
        raise malformed("it is one of several parts")
    end = End(entries=entries, size=size, offset=offset)
    if zip64 is None:
        return end
    for mine, theirs, elsewhere in (
        (end.entries, zip64.entries, _IN_ZIP64_16),
        (end.size, zip64.size, _IN_ZIP64),
        (end.offset, zip64.offset, _IN_ZIP64),
    ):
        if mine not in (theirs, elsewhere):
            raise malformed("the records at its end contradict each other")
    return zip64


def zip64_extension_bytes(fields: bytes) -> int:
    """How long the extensible part of the zip64 record is, which follows its fields."""
    counted: int = ZIP64_END_FIELDS.unpack(fields)[0]
    return counted - _ZIP64_END_COUNTED_BYTES


def zip64_locator(offset: int) -> tuple[bytes, bytes]:
    """The signature and fields that must follow a zip64 record at `offset`."""
    return ZIP64_LOCATOR, ZIP64_LOCATOR_FIELDS.pack(0, offset, 1)


def zip64_end_record(fields: bytes) -> End:
    """Read the zip64 record, but for its extensible part.

    Raises:
        VerificationError: It is one of several parts.
    """
    _, _, _, disk, first_disk, here, entries, size, offset = ZIP64_END_FIELDS.unpack(fields)
    if disk or first_disk or here != entries:
        raise malformed("it is one of several parts")
    return End(entries=entries, size=size, offset=offset)


def descriptors(entry: Entry) -> list[bytes]:
    """All forms that an entry's descriptor may have, longest first: 4.3.9.

    Its signature is optional, and programs do not agree on when its sizes have eight bytes.
    """
    crc = struct.pack("<I", entry.crc)
    forms = [crc + struct.pack("<2Q", entry.packed, entry.size)]
    if max(entry.packed, entry.size) <= _IN_ZIP64:
        forms.append(crc + struct.pack("<2I", entry.packed, entry.size))
    return [before + form for form in forms for before in (DESCRIPTOR, b"")]


def decoded(name: bytes) -> str:
    """An entry's name, which is UTF-8 whatever its flag says: so Info-ZIP writes it on Linux.

    Raises:
        VerificationError: It is not.
    """
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise refused(name.decode(errors="backslashreplace"), "its name is not UTF-8") from error


def _with_zip64(extra: bytes, values: list[int]) -> list[int]:
    """Values, of which those that need eight bytes are taken from the extra field: 4.5.3."""
    if _IN_ZIP64 not in values:
        return values
    needed = values.count(_IN_ZIP64)
    field = _extra_field(extra, _ZIP64_EXTRA)[: 8 * needed]
    if len(field) < 8 * needed:
        raise malformed("a zip64 field is missing")
    wide = iter(struct.unpack(f"<{needed}Q", field))
    return [next(wide) if value == _IN_ZIP64 else value for value in values]


def _extra_field(extra: bytes, wanted: int) -> bytes:
    """The content of one extra field: 4.5.1; empty if there is none."""
    header = struct.Struct("<2H")
    while len(extra) >= header.size:
        kind, size = header.unpack_from(extra)
        if kind == wanted:
            return extra[header.size : header.size + size]
        extra = extra[header.size + size :]
    return b""
