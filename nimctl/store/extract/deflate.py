"""Deflate, in bounded pieces."""

import zlib
from collections.abc import Iterator
from types import ModuleType

from nimctl.store.extract.refusals import malformed
from nimctl.store.fast_zlib import library as fastest

RAW = -zlib.MAX_WBITS
GZIP = 16 + zlib.MAX_WBITS
# In and out. ISA-L is fastest where both are equal: its output buffer then need not grow.
PIECE_BYTES = 256 * 1024


class Inflater:
    """One deflate stream, or one gzip member, whose checksum and size the library compares."""

    def __init__(self, window_bits: int, library: ModuleType = fastest) -> None:
        self._inflater = library.decompressobj(window_bits)
        self._error: type[Exception] = library.error

    @property
    def is_over(self) -> bool:
        """Whether the stream's end was reached."""
        return bool(self._inflater.eof)

    def pieces(self, data: memoryview) -> Iterator[bytes]:
        """Give what `data`, at most `PIECE_BYTES`, inflates to, in pieces of as many bytes.

        Raises:
            VerificationError: It is no deflate, or the checksum is wrong.
        """
        rest: bytes | memoryview = data
        while not self.is_over:
            try:
                piece = self._inflater.decompress(rest, PIECE_BYTES)
            except self._error as error:
                raise malformed(f"deflate: {error}") from error
            if piece:
                yield piece
            rest = self._inflater.unconsumed_tail
            # A full piece may not be all that the bytes so far inflate to.
            if not rest and len(piece) < PIECE_BYTES:
                return

    @property
    def behind(self) -> bytes:
        """What came behind the stream's end in the last data."""
        return bytes(self._inflater.unused_data)
