"""Range arithmetic: what of a file is there, and what is fetched next. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

_MIB = 2**20
_LARGEST_RANGE_BYTES = 64 * _MIB
_RANGES_PER_FILE = 512
_TELLING_S = 1.0
_WORTH_SHARING_S = 2.0

# More than a worker reads at once, or it might write beyond a new end.
SHARE_BYTES = 2 * _MIB


class Mark(NamedTuple):
    """How many bytes of a range are there, and their CRC-32."""

    done: int
    crc32: int


_NOTHING = Mark(0, 0)


class Piece(NamedTuple):
    """Bytes `start` to `end` (exclusive) of a file that are there, and their CRC-32."""

    start: int
    end: int
    crc32: int


@dataclass(slots=True, eq=False)
class Range:
    """Bytes `start` to `end` (exclusive) of a file; `end` is None while the size is unknown.

    It is filled from its start by one worker at a time, since `taken_at` (seconds of a monotonic
    clock). `mark` is replaced as a whole, so that other threads always read a count and the
    checksum of just these bytes. What was there before this run is `is_kept`: its checksum has yet
    to be compared.
    """

    start: int
    end: int | None
    mark: Mark = _NOTHING
    is_kept: bool = False
    taken_at: float | None = None
    done_when_taken: int = 0

    @property
    def position(self) -> int:
        """Where the next byte goes."""
        return self.start + self.mark.done

    @property
    def remaining(self) -> int | None:
        """Bytes that are missing; None when unknown."""
        return None if self.end is None else self.end - self.position

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return self.position == self.end

    @property
    def piece(self) -> Piece:
        """What is there."""
        done, crc32 = self.mark
        return Piece(self.start, self.start + done, crc32)

    def take(self, now: float) -> None:
        """Give it to a worker."""
        self.taken_at = now
        self.done_when_taken = self.mark.done

    def seconds_left(self, now: float) -> float:
        """How long its worker will need at its present rate; 0 when that cannot be told."""
        if self.taken_at is None or self.remaining is None or now - self.taken_at < _TELLING_S:
            return 0.0
        gained = self.mark.done - self.done_when_taken
        return self.remaining * (now - self.taken_at) / gained if gained else math.inf


class Ledger:
    """The ranges of one file, in order and without gaps. Not thread-safe: its owner guards it."""

    def __init__(self, ranges: list[Range]) -> None:
        self.ranges = ranges

    def next_free(self) -> Range | None:
        """The first range that is neither complete nor taken."""
        return next((r for r in self.ranges if r.taken_at is None and not r.is_complete), None)

    def share(self, now: float) -> Range | None:
        """Cut off half of what is missing of the slowest range, if that is worth a connection."""
        large = [r for r in self.ranges if (r.remaining or 0) >= 2 * SHARE_BYTES]
        slowest = max(large, key=lambda r: r.seconds_left(now), default=None)
        if slowest is None or slowest.end is None or slowest.seconds_left(now) < _WORTH_SHARING_S:
            return None
        middle = (slowest.position + slowest.end) // 2
        rest = Range(middle, slowest.end)
        slowest.end = middle
        self.ranges.insert(self.ranges.index(slowest) + 1, rest)
        return rest

    @property
    def done_bytes(self) -> int:
        """Bytes that are there."""
        return sum(r.mark.done for r in self.ranges)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return all(r.is_complete for r in self.ranges)

    @property
    def is_idle(self) -> bool:
        """Whether no worker has any of it."""
        return all(r.taken_at is None for r in self.ranges)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """What is there, as it is saved."""
        return tuple(r.piece for r in self.ranges if r.mark.done)


def complete(size: int) -> Ledger:
    """A file that is all there, whose bytes nobody has added up."""
    return Ledger([Range(0, size, Mark(size, 0))])


def range_length(size: int, smallest: int) -> int:
    """Bytes of one range: at most about 512 of them, so that the saved state stays small."""
    fair_share = math.ceil(size / _RANGES_PER_FILE / _MIB) * _MIB
    if size <= smallest * _RANGES_PER_FILE:
        return smallest
    return min(fair_share, max(smallest, _LARGEST_RANGE_BYTES))


def plan(size: int | None, kept: Iterable[Piece], length: int | None) -> Ledger:
    """Lay out a file: the kept pieces, and between them ranges of at most `length` bytes.

    With `length` None each gap is one range. The pieces are ordered, do not overlap and end within
    the size (`is_consistent`).
    """
    ranges: list[Range] = []
    position = 0
    for piece in kept:
        ranges += _cut(position, piece.start, length)
        mark = Mark(piece.end - piece.start, piece.crc32)
        ranges.append(Range(piece.start, piece.end, mark, is_kept=True))
        position = piece.end
    if size is None:
        ranges.append(Range(position, None))
    else:
        ranges += _cut(position, size, length)
    return Ledger(ranges)


def is_consistent(size: int | None, pieces: Iterable[Piece]) -> bool:
    """Whether the pieces are ordered, without overlap, not empty and within the size."""
    position = 0
    for piece in pieces:
        if not position <= piece.start < piece.end:
            return False
        position = piece.end
    return size is None or position <= size


def _cut(start: int, end: int, length: int | None) -> list[Range]:
    step = length or max(1, end - start)
    return [Range(at, min(at + step, end)) for at in range(start, end, step)]
