"""Hashing of a file that is being filled: in order, behind those who write."""

import hashlib
import threading
from collections.abc import Callable, Mapping
from typing import Protocol, Self

from nimctl.core.facts import DigestAlgorithm
from nimctl.store import fast_zlib
from nimctl.store.transfer.part import Part
from nimctl.store.transfer.ranges import Ledger, Range

_CHUNK_BYTES = 2**20


class _Running(Protocol):
    """A hash as `hashlib` has them, and `blake3` too."""

    def update(self, data: memoryview, /) -> object: ...
    def copy(self) -> Self: ...
    def hexdigest(self) -> str: ...


class Digests:
    """A running sha256, and beside it a Git blob id and a blake3 if these are expected.

    Git hashes `blob`, a blank, the size and a zero byte before the data:
    https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
    """

    def __init__(self, expected: Mapping[DigestAlgorithm, str], size: int | None) -> None:
        self._hashes: dict[str, _Running] = {"sha256": hashlib.sha256()}
        if "git-sha1" in expected and size is not None:
            # Git's object name is what the registry states; nothing here trusts SHA-1 alone.
            git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
            self._hashes["git-sha1"] = git
        if "blake3" in expected:
            from blake3 import blake3  # noqa: PLC0415 - most registries give no blake3

            self._hashes["blake3"] = blake3()

    def update(self, view: memoryview) -> None:
        """Go on with the bytes that follow."""
        for running in self._hashes.values():
            running.update(view)

    def copy(self) -> "Digests":
        """A snapshot to return to."""
        twin = Digests({}, None)
        twin._hashes = {name: running.copy() for name, running in self._hashes.items()}
        return twin

    def results(self) -> dict[str, str]:
        """Algorithm to lower-case hex."""
        return {name: running.hexdigest() for name, running in self._hashes.items()}


class PrefixHasher:
    """Hashes what is there without gaps from the beginning.

    On the way it compares the checksums of kept pieces; bad ones are handed to `on_bad`, which
    empties them, and hashing goes on from the first of them once that is filled again.

    Whatever is hashed goes to `pass_on` as well, so that who follows has just these bytes.
    """

    def __init__(
        self,
        expected: Mapping[DigestAlgorithm, str],
        size: int | None,
        ledger: Ledger,
        on_bad: Callable[[Range], None],
        pass_on: Callable[[memoryview], None] | None = None,
    ) -> None:
        self._digests = Digests(expected, size)
        self._ledger = ledger
        self._on_bad = on_bad
        self._pass_on = pass_on
        self._position = 0
        self._index = 0
        self._at_range_start = self._digests
        self._crc32 = 0
        self._buffer: memoryview | None = None
        self._busy = threading.Lock()

    @property
    def position(self) -> int:
        """Everything before this is hashed."""
        return self._position

    def offer(self, view: memoryview, offset: int) -> None:
        """Hash bytes while they are in memory, if they are the next and nobody else hashes."""
        if self._busy.acquire(blocking=False):
            try:
                if offset == self._position:
                    self._take(view)
            finally:
                self._busy.release()

    def catch_up(self, part: Part, is_stopping: Callable[[], bool]) -> bool:
        """Hash what is there; returns whether that was anything."""
        has_moved = False
        with self._busy:
            while not is_stopping() and self._hash_some(part):
                has_moved = True
        return has_moved

    def results(self) -> dict[str, str]:
        """The digests of everything before `position`."""
        return self._digests.results()

    def _hash_some(self, part: Part) -> bool:
        current = self._current_range()
        if current is None or current.position <= self._position:
            return False
        view = self._read(part, self._position, current.position)
        self._take(view)
        if current.is_kept:
            self._crc32 = fast_zlib.crc32(view, self._crc32)
            is_cut = not view  # somebody shortened the file
            if is_cut or (self._position == current.end and self._crc32 != current.mark.crc32):
                self._position = current.start
                self._digests = self._at_range_start
                self._on_bad(current)
                self._check_later(part)
        return bool(view)

    def _take(self, view: memoryview) -> None:
        self._digests.update(view)
        self._position += len(view)
        if self._pass_on:
            self._pass_on(view)

    def _read(self, part: Part, start: int, end: int) -> memoryview:
        """Some bytes from `start` on, not beyond `end`; none if the file ends there."""
        if self._buffer is None:
            self._buffer = memoryview(bytearray(_CHUNK_BYTES))
        view = self._buffer[: end - start]
        return view[: part.read_into(view, start)]

    def _check_later(self, part: Part) -> None:
        """After the first bad piece look at all that follow, so that they are fetched together."""
        for later in self._ledger.ranges[self._index + 1 :]:
            if later.is_kept and self._crc32_of(part, later) != later.mark.crc32:
                self._on_bad(later)

    def _crc32_of(self, part: Part, kept: Range) -> int:
        crc32, position = 0, kept.start
        while view := self._read(part, position, kept.position):
            crc32 = fast_zlib.crc32(view, crc32)
            position += len(view)
        return crc32

    def _current_range(self) -> Range | None:
        """The range that `position` lies in; on entering a kept one, remember the way back."""
        ranges = self._ledger.ranges
        while self._index < len(ranges):
            current = ranges[self._index]
            if current.end is None or self._position < current.end:
                if current.is_kept and self._position == current.start:
                    self._at_range_start = self._digests.copy()
                    self._crc32 = 0
                return current
            self._index += 1
        return None
