"""Hashing of a file that is being filled: in order, behind those who write."""

import hashlib
import threading
import zlib
from collections.abc import Callable, Mapping

from nimctl.core.facts import DigestAlgorithm
from nimctl.store.transfer.part import Part
from nimctl.store.transfer.ranges import Ledger, Range

_CHUNK_BYTES = 2**20


class Digests:
    """A running sha256, and a Git blob id if one is expected.

    Git hashes `blob`, a blank, the size and a zero byte before the data:
    https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
    """

    def __init__(self, expected: Mapping[DigestAlgorithm, str], size: int | None) -> None:
        self._hashes = {"sha256": hashlib.sha256()}
        if "git-sha1" in expected and size is not None:
            # Git's object name is what the registry states; nothing here trusts SHA-1 alone.
            git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
            self._hashes["git-sha1"] = git

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

    On the way it compares the checksums of kept pieces; a bad one is handed to `on_bad`, which
    empties it, and hashing goes on from its start once it is filled again.
    """

    def __init__(
        self,
        expected: Mapping[DigestAlgorithm, str],
        size: int | None,
        ledger: Ledger,
        on_bad: Callable[[Range], None],
    ) -> None:
        self._digests = Digests(expected, size)
        self._ledger = ledger
        self._on_bad = on_bad
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
                    self._digests.update(view)
                    self._position += len(view)
            finally:
                self._busy.release()

    def catch_up(self, part: Part, is_stopping: Callable[[], bool]) -> bool:
        """Hash what is there; returns whether that was anything."""
        with self._busy:
            begun_at = self._position
            while not is_stopping() and self._hash_some(part):
                pass
            return self._position != begun_at

    def results(self) -> dict[str, str]:
        """The digests of everything before `position`."""
        return self._digests.results()

    def _hash_some(self, part: Part) -> bool:
        current = self._current_range()
        if current is None:
            return False
        available = current.position - self._position
        if available <= 0:
            return False
        if self._buffer is None:
            self._buffer = memoryview(bytearray(_CHUNK_BYTES))
        view = self._buffer[: min(available, _CHUNK_BYTES)]
        view = view[: part.read_into(view, self._position)]
        if not view:  # somebody cut the file
            self._reject(current)
            return False
        self._digests.update(view)
        self._position += len(view)
        if current.is_kept:
            self._crc32 = zlib.crc32(view, self._crc32)
            if self._position == current.end and self._crc32 != current.mark.crc32:
                self._reject(current)
                return False
        return True

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

    def _reject(self, bad: Range) -> None:
        self._position = bad.start
        self._digests = self._at_range_start
        self._on_bad(bad)
