"""The opcodes of a pickle, one by one, with long arguments passed over unread.

Which there are, and how their arguments are stored: `pickletools` of the standard library. Its own
reader holds whole arguments in memory, and their lengths are the file's to choose.
"""

import io
import pickletools
from collections.abc import Callable
from typing import NamedTuple

from nimctl.store.formats.findings import UnreadableError
from nimctl.store.formats.sources import LONGEST_FILE_BYTES, exactly

# Longer strings name no import, and no number that matters here takes more digits.
_LONGEST_TEXT_BYTES = 1024
_LINE_PIECE_BYTES = 64 * 1024
_TWO_LINES = ("GLOBAL", "INST")

# Of a length: its bytes, and whether it may be negative, which nothing then can load.
_LENGTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: (1, False),
    pickletools.TAKEN_FROM_ARGUMENT4: (4, True),
    pickletools.TAKEN_FROM_ARGUMENT4U: (4, False),
    pickletools.TAKEN_FROM_ARGUMENT8U: (8, False),
}


class Opcode(NamedTuple):
    """One opcode; a long argument is None. Of two lines, both are there, unless one is long."""

    name: str
    argument: bytes | None = b""
    second_line: bytes | None = b""


Reader = Callable[[io.BufferedReader], Opcode]


def read_opcode(source: io.BufferedReader) -> Opcode:
    """Read the next opcode.

    Raises:
        UnreadableError: There is none, or the source ends in its argument.
    """
    code = exactly(source, 1)
    reader = _READERS.get(code)
    if reader is None:
        raise UnreadableError(f"0x{code.hex()} is no opcode")
    return reader(source)


def _reader(opcode: pickletools.OpcodeInfo) -> Reader:
    name = opcode.name
    if opcode.arg is None:
        constant = Opcode(name)
        return lambda _: constant
    size = opcode.arg.n
    if name in _TWO_LINES:
        return lambda source: Opcode(name, _line(source), _line(source))
    if size == pickletools.UP_TO_NEWLINE:
        return lambda source: Opcode(name, _line(source))
    if size in _LENGTHS:
        length_bytes, is_signed = _LENGTHS[size]
        return lambda source: Opcode(name, _counted(source, length_bytes, is_signed=is_signed))
    return lambda source: Opcode(name, exactly(source, size))


def _counted(source: io.BufferedReader, length_bytes: int, *, is_signed: bool) -> bytes | None:
    length = int.from_bytes(exactly(source, length_bytes), "little", signed=is_signed)
    if not 0 <= length < LONGEST_FILE_BYTES:
        raise UnreadableError(f"{length} is no length")
    if length <= _LONGEST_TEXT_BYTES:
        return exactly(source, length)
    # One byte is read, because one can go anywhere behind an end.
    source.seek(length - 1, io.SEEK_CUR)
    exactly(source, 1)
    return None


def _line(source: io.BufferedReader) -> bytes | None:
    """A line without its last byte: unpicklers drop it even where a file ends without newline."""
    line = source.readline(_LONGEST_TEXT_BYTES)
    if len(line) < _LONGEST_TEXT_BYTES or line.endswith(b"\n"):
        if not line:
            raise UnreadableError("it is cut off")
        return line[:-1]
    while line and not line.endswith(b"\n"):
        line = source.readline(_LINE_PIECE_BYTES)
    return None


_READERS = {opcode.code.encode("latin-1"): _reader(opcode) for opcode in pickletools.opcodes}
