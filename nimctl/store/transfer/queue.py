"""Which file is worked on next, and how far all are: what the threads of a transfer share."""

import threading
import time
from collections import deque
from collections.abc import Sequence

from nimctl.core.events import Event, Noted
from nimctl.store.transfer.connection import Sockets
from nimctl.store.transfer.download import Download
from nimctl.store.transfer.ranges import Range

_BATCH = 64
_MOST_UNADOPTED = 2 * _BATCH
_LOCKED_RETRY_S = 0.1
_SHARE_RETRY_S = 0.5


class Queue:
    """Downloads go from waiting over active and verified to settled.

    One lock guards all of it; workers, the verifier and the keeper wait on conditions of their own,
    so that thousands of small files do not wake everybody each time. `stopping` is set when the
    work is done, fails or is interrupted.
    """

    def __init__(self, downloads: Sequence[Download]) -> None:
        lock = threading.Lock()
        self._lock = lock
        self._work = threading.Condition(lock)
        self._progress = threading.Condition(lock)
        self._results = threading.Condition(lock)
        self._room = threading.Condition(lock)
        self._waiting = deque(downloads)
        self._locked: deque[tuple[float, Download]] = deque()
        self._noted: set[str] = set()
        self._active: list[Download] = []
        self._verified: list[tuple[Download, str]] = []
        self._unsettled = len(downloads)
        self._has_moved = False
        self._new: list[Download] = []
        self._notes: list[Event] = []
        self.settled: dict[str, tuple[Download, str]] = {}
        self.stopping = threading.Event()
        self.sockets = Sockets()
        self.failure: BaseException | None = None
        if not downloads:
            self.stopping.set()

    def is_stopping(self) -> bool:
        """Whether to leave the work as it is."""
        return self.stopping.is_set()

    def wake(self) -> None:
        """Have all look again: ranges are complete, or free."""
        with self._lock:
            self._has_moved = True
            for condition in (self._work, self._progress, self._results):
                condition.notify_all()

    def stop(self) -> None:
        """Have all leave their work."""
        with self._lock:
            self._stop()

    def fail(self, error: BaseException) -> None:
        """Stop because of `error`, unless all was stopping already."""
        with self._lock:
            if not self.is_stopping():
                self.failure = error
            self._stop()

    def waiting(self) -> list[Download]:
        """The files that nobody has begun."""
        with self._lock:
            return list(self._waiting)

    def active(self) -> list[Download]:
        """The files that are being fetched or hashed."""
        with self._lock:
            return list(self._active)

    def leave(self) -> None:
        """Save and close the files that have no final name yet."""
        for download in self._active + [download for download, _ in self._verified]:
            download.leave()

    def next(self) -> tuple[Download, Range | None] | None:
        """Wait for work: a range to fetch, or (with None) a file to begin; None at the end."""
        with self._lock:
            while not self.is_stopping():
                for download in self._active:
                    claimed = download.claim()
                    if claimed:
                        return download, claimed
                begun = self._next_waiting()
                if begun:
                    return begun, None
                self._work.wait(self._patience_s)
            return None

    def postpone(self, download: Download) -> None:
        """Come back to a file that another process has locked."""
        with self._lock:
            if download.id not in self._noted:
                self._noted.add(download.id)
                message = f"{download.file.path} is being fetched by another process; waiting"
                self._notes.append(Noted(message=message))
            self._locked.append((time.monotonic() + _LOCKED_RETRY_S, download))

    def activate(self, download: Download) -> None:
        """Open a file to all workers."""
        with self._lock:
            self._active.append(download)
            if download.is_parallel:
                self._work.notify()
                self._progress.notify_all()

    def wait_for_parallel(self) -> list[Download]:
        """Wait until there are parallel downloads; returns them."""
        with self._lock:
            while not self.is_stopping():
                parallel = [download for download in self._active if download.is_parallel]
                if parallel:
                    return parallel
                self._progress.wait()
            return []

    def wait_for_progress(self, timeout_s: float) -> None:
        """Wait until there may be something to hash."""
        with self._lock:
            if not self.is_stopping():
                self._progress.wait(timeout_s)

    def verified(self, download: Download, sha256: str) -> None:
        """Hand on a file whose bytes are right; waits while too many are ahead of it."""
        with self._lock:
            self._active.remove(download)
            self._verified.append((download, sha256))
            if self._is_batch:
                self._results.notify_all()
            while len(self._verified) > _MOST_UNADOPTED and not self.is_stopping():
                self._room.wait()

    def wait_for_results(self, timeout_s: float) -> list[tuple[Download, str]]:
        """Wait until there is something to write down; returns verified files without a name."""
        with self._lock:
            self._results.wait_for(
                lambda: self._has_moved or self._is_batch or self.is_stopping(), timeout_s
            )
            self._has_moved = False
            return list(self._verified)

    def settle(self, settled: Sequence[tuple[Download, str]]) -> None:
        """Note that files have their final names; the last one ends the work."""
        with self._lock:
            for download, sha256 in settled:
                self.settled[download.id] = (download, sha256)
                self._new.append(download)
            self._verified = [one for one in self._verified if one[0].id not in self.settled]
            self._unsettled -= len(settled)
            if not self._unsettled:
                self._stop()
            self._room.notify_all()

    def news(self) -> tuple[list[Event], list[Download]]:
        """What there is to say, and the files that were settled, since this was last asked."""
        with self._lock:
            news = self._notes, self._new
            self._notes, self._new = [], []
            return news

    @property
    def _patience_s(self) -> float | None:
        """When to look again although nothing changed: for locks, and for slow ranges to share."""
        if self._locked:
            return _LOCKED_RETRY_S
        return _SHARE_RETRY_S if any(one.is_parallel for one in self._active) else None

    @property
    def _is_batch(self) -> bool:
        """Whether there are many verified files, or no others to wait for."""
        return len(self._verified) >= min(_BATCH, self._unsettled)

    def _next_waiting(self) -> Download | None:
        if self._waiting:
            return self._waiting.popleft()
        if self._locked and self._locked[0][0] <= time.monotonic():
            return self._locked.popleft()[1]
        return None

    def _stop(self) -> None:
        self.stopping.set()
        for condition in (self._work, self._progress, self._results, self._room):
            condition.notify_all()
        self.sockets.abort()
