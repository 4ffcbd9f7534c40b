"""The thread that writes to the disk what must not be lost: states, and final names."""

import time
from collections.abc import Iterator, Sequence

from nimctl.store.blobs import BlobStore
from nimctl.store.transfer.download import Download
from nimctl.store.transfer.mending import keep_checksums
from nimctl.store.transfer.queue import Queue
from nimctl.store.transfer.receipts import Receipts

_LOOK_AGAIN_S = 0.1


class Keeper:
    """Saves the state of downloads under way and gives verified files their names.

    Verified files that gather while others are being synchronised go to the disk together, so
    thousands of small files cost few synchronisations.

    Workers save a state whenever a range is complete, which is enough for a killed process. Every
    `checkpoint_s` seconds bytes and state are also brought to the disk, for when the power fails.
    """

    def __init__(
        self, queue: Queue, blobs: BlobStore, receipts: Receipts, checkpoint_s: float
    ) -> None:
        self._queue = queue
        self._blobs = blobs
        self._receipts = receipts
        self._checkpoint_s = checkpoint_s
        self._saved: dict[str, int] = {}
        self._checkpoint_at = time.monotonic() + checkpoint_s

    def run(self) -> None:
        """Work until there is nothing left to do."""
        while not self._queue.is_stopping():
            self._adopt()
            is_due = time.monotonic() >= self._checkpoint_at
            for download in self._queue.active():
                # Complete bytes are on their way to the disk while they are still hashed.
                if is_due or (download.is_parallel and download.ledger.is_complete):
                    self._save(download)
            if is_due:
                self._checkpoint_at = time.monotonic() + self._checkpoint_s

    def _adopt(self) -> None:
        verified = self._queue.wait_for_results(min(_LOOK_AGAIN_S, self._checkpoint_s))
        if not verified:
            return
        self._note(verified)
        staged = (download.staged(sha256) for download, sha256 in verified)
        self._blobs.adopt_all([one for files in staged for one in files])
        for download, _ in verified:
            download.settle()
        self._queue.settle(verified)

    def _note(self, verified: Sequence[tuple[Download, str]]) -> None:
        self._receipts.add(line for one, sha256 in verified for line in _receipts(one, sha256))
        for download, sha256 in verified:
            if not download.following and len(download.ledger.ranges) > 1:
                keep_checksums(self._blobs.layout, sha256, download.state())

    def _save(self, download: Download) -> None:
        done_bytes = download.ledger.done_bytes
        if done_bytes != self._saved.get(download.id, 0):
            download.save(durably=True)
            self._saved[download.id] = done_bytes


def _receipts(download: Download, sha256: str) -> Iterator[tuple[str, str]]:
    """What nothing else tells of a file: what it became, and what was made of it."""
    if download.following:
        yield from ((made, made) for _, made in download.staged(sha256))
    elif download.file.sha256 is None:
        yield download.id if download.needs_receipt else sha256, sha256
