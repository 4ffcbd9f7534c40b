"""The thread that hashes behind parallel connections."""

from nimctl.store.transfer.download import Download
from nimctl.store.transfer.queue import Queue

_LOOK_AGAIN_S = 0.02


class Verifier:
    """Follows the finished prefix of each parallel download and judges complete ones.

    It reads what was just written back from the page cache, so memory stays small and the
    connections never wait for it.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def run(self) -> None:
        """Work until there is nothing left to do."""
        while not self._queue.is_stopping():
            if not any(map(self._advance, self._queue.wait_for_parallel())):
                self._queue.wait_for_progress(_LOOK_AGAIN_S)

    def _advance(self, download: Download) -> bool:
        hasher = download.hasher
        kept_bytes = download.kept_bytes
        has_moved = hasher.catch_up(download.part, self._queue.is_stopping)
        if download.kept_bytes != kept_bytes:  # some was bad: there is more to fetch
            self._queue.wake()
        if download.ledger.is_complete and hasher.position == download.size:
            sha256 = download.conclude(self._queue.is_stopping)
            if sha256 is not None:
                self._queue.verified(download, sha256)
            self._queue.wake()
            return True
        return has_moved
