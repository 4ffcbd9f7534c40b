"""Parts of files, read in place: a stretch of bytes, and what a deflated one inflates to."""

import io
import zlib
from typing import TYPE_CHECKING

from nimctl.store.formats.budget import Budget
from nimctl.store.formats.findings import UnreadableError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

RAW = -zlib.MAX_WBITS
GZIP = 16 + zlib.MAX_WBITS
# Longer than any file; sums of two such lengths are still offsets.
LONGEST_FILE_BYTES = 2**62
_BUFFER_BYTES = 64 * 1024
_SKIP_BYTES = 1024 * 1024


def stretch(parent: io.BufferedReader, start: int, size: int) -> io.BufferedReader:
    """A stretch of another source, as a source; sizes in bytes."""
    return io.BufferedReader(_Stretch(parent, start, size), _BUFFER_BYTES)


def inflated(packed: io.BufferedReader, window_bits: int, budget: Budget) -> io.BufferedReader:
    """What a source inflates to (`RAW` or `GZIP`); going back in it begins anew."""
    return io.BufferedReader(_Inflated(packed, window_bits, budget), _BUFFER_BYTES)


def exactly(source: io.BufferedReader, count: int) -> bytes:
    """Read so many bytes.

    Raises:
        UnreadableError: There are fewer.
    """
    data = source.read(count)
    if len(data) < count:
        raise UnreadableError("it is cut off")
    return data


class _Stretch(io.RawIOBase):
    def __init__(self, parent: io.BufferedReader, start: int, size: int) -> None:
        self._parent = parent
        self._start = start
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)[: max(0, self._size - self._position)]
        if not view:
            return 0
        self._parent.seek(self._start + self._position)
        count = self._parent.readinto(view)
        self._position += count
        return count


class _Inflated(io.RawIOBase):
    def __init__(self, packed: io.BufferedReader, window_bits: int, budget: Budget) -> None:
        self._packed = packed
        self._window_bits = window_bits
        self._budget = budget
        self._restart()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            while self._next(_SKIP_BYTES):
                pass
        target = offset + (0 if whence == io.SEEK_SET else self._position)
        if target < self._position:
            self._restart()
        while self._position < target and self._next(min(_SKIP_BYTES, target - self._position)):
            pass
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        filled = 0
        while filled < len(view):
            piece = self._next(len(view) - filled)
            if not piece:
                break
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        return filled

    def _restart(self) -> None:
        self._packed.seek(0)
        self._position = 0
        self._rest = b""
        self._inflater = zlib.decompressobj(self._window_bits)

    def _next(self, most: int) -> bytes:
        while not self._inflater.eof or self._begin_next_member():
            data = self._rest or self._packed.read(_BUFFER_BYTES)
            try:
                piece = self._inflater.decompress(data, most)
            except zlib.error as error:
                raise UnreadableError(f"deflate: {error}") from error
            self._rest = self._inflater.unconsumed_tail
            if piece:
                self._budget.spend_inflated(len(piece))
                self._position += len(piece)
                return piece
            if not data:
                raise UnreadableError("it is cut off")
        return b""

    def _begin_next_member(self) -> bool:
        """Gzip may have several members, and zeros behind them."""
        if self._window_bits != GZIP:
            return False
        rest = self._inflater.unused_data.lstrip(b"\0")
        while not rest and (data := self._packed.read(_BUFFER_BYTES)):
            rest = data.lstrip(b"\0")
        if not rest:
            return False
        self._inflater = zlib.decompressobj(self._window_bits)
        self._rest = rest
        return True
