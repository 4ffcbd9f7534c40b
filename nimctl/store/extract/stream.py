"""Bytes that arrive piece by piece, for readers that are written as if all were there.

A reader is a generator that yields whenever it needs more than has arrived:

    header = yield from stream.take(512)
"""

from collections.abc import Generator
from typing import TypeAlias, TypeVar

from nimctl.store.extract.refusals import malformed

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]


class Stream:
    """What has arrived and was not taken yet; `position` counts the bytes that were taken."""

    def __init__(self) -> None:
        self.position = 0
        self._here = memoryview(b"")
        self._is_over = False

    def arrive(self, data: bytes) -> None:
        """Bring the next bytes, when all that were there have been taken."""
        self._here = memoryview(data)

    def end(self) -> None:
        """Say that nothing more will arrive."""
        self._is_over = True

    def take(self, count: int) -> Steps[memoryview]:
        """Take exactly so many bytes.

        Raises:
            VerificationError: The archive ends before.
        """
        piece = yield from self.peek(count)
        self.used(count)
        return piece

    def peek(self, count: int) -> Steps[memoryview]:
        """Look at exactly so many bytes.

        Raises:
            VerificationError: The archive ends before.
        """
        if len(self._here) < count:
            yield from self._gather(count)
        return self._here[:count]

    def some(self, most: int) -> Steps[memoryview]:
        """Look at between one byte and `most`; at none if the archive is over."""
        while not self._here and not self._is_over:
            yield
        return self._here[:most]

    def look(self, most: int) -> Steps[memoryview]:
        """Look at between one byte and `most`.

        Raises:
            VerificationError: The archive is over.
        """
        piece = yield from self.some(most)
        if not piece:
            raise _cut_off()
        return piece

    def body(self, most: int) -> Steps[memoryview]:
        """Take between one byte and `most`.

        Raises:
            VerificationError: The archive is over.
        """
        piece = yield from self.look(most)
        self.used(len(piece))
        return piece

    def skip(self, count: int) -> Steps[None]:
        """Pass over so many bytes.

        Raises:
            VerificationError: The archive ends before.
        """
        while count:
            count -= len((yield from self.body(count)))

    def used(self, count: int) -> None:
        """Take bytes that were looked at."""
        self._here = self._here[count:]
        self.position += count

    def _gather(self, count: int) -> Steps[None]:
        gathered = bytearray(self._here)
        while len(gathered) < count:
            self._here = memoryview(b"")
            if self._is_over:
                raise _cut_off()
            yield
            gathered += self._here
        # Never changed again: views of it go to another thread.
        self._here = memoryview(gathered)


def _cut_off() -> Exception:
    return malformed("it ends too early")
