"""Tar headers: 512 bytes to a value.

Formats: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html (ustar, pax) and
https://www.gnu.org/software/tar/manual/html_node/Standard.html (old GNU, v7).
"""

import re

from nimctl.core.value import Value
from nimctl.store.extract.refusals import malformed

BLOCK_BYTES = 512
_ZERO_BLOCK = bytes(BLOCK_BYTES)
_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
_BASE_256 = 0x80
_CHECKSUM = slice(148, 156)


class Header(Value):
    """One header: `type` is its type flag as a character, `size` the bytes that follow it."""

    name: bytes
    size: int
    type: str


def parse_header(block: bytes) -> Header | None:
    """Read a header; None if it is a block of zeros, two of which end an archive.

    Raises:
        VerificationError: It is no tar header, or its checksum is wrong.
    """
    if block == _ZERO_BLOCK:
        return None
    _check(block)
    return Header(name=_name(block), size=_number(block[124:136], "size"), type=chr(block[156]))


def _check(block: bytes) -> None:
    stated = _number(block[_CHECKSUM], "checksum")
    # The field itself counts as spaces; some old programs sum up signed bytes.
    counted = block[: _CHECKSUM.start] + b" " * 8 + block[_CHECKSUM.stop :]
    if stated not in (sum(counted), sum(memoryview(counted).cast("b"))):
        raise malformed("a tar header's checksum is wrong, or it is no tar")


def _name(block: bytes) -> bytes:
    name = _text(block[0:100])
    # Old GNU headers (`ustar  `) have times where POSIX ones have a prefix; star ends it earlier.
    if block[257:263] != b"ustar\0":
        return name
    prefix = _text(block[345:476] if block[508:512] == b"tar\0" else block[345:500])
    return prefix + b"/" + name if prefix else name


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes, what: str) -> int:
    if field[0] == _BASE_256:
        return int.from_bytes(field[1:], "big")
    octal = _OCTAL.fullmatch(field)
    if octal is None:
        raise malformed(f"a tar header's {what} is no number")
    return int(octal[1] or b"0", 8)
