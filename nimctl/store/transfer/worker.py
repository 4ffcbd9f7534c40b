"""What each connection's thread does: take a range, fetch it, take the next."""

import contextlib

from nimctl.store.blobs import BlobStore
from nimctl.store.transfer.answers import Body
from nimctl.store.transfer.client import Client, Content, Network
from nimctl.store.transfer.download import Download
from nimctl.store.transfer.failures import TemporaryError
from nimctl.store.transfer.part import part_path
from nimctl.store.transfer.patience import Patience
from nimctl.store.transfer.queue import Queue
from nimctl.store.transfer.ranges import SHARE_BYTES, Range
from nimctl.store.transfer.rate import TokenBucket

BUFFER_BYTES = SHARE_BYTES // 2
_ALL_BUFFERS_BYTES = 16 * BUFFER_BYTES


class Worker:
    """One thread's work."""

    def __init__(
        self, queue: Queue, network: Network, blobs: BlobStore, bucket: TokenBucket | None
    ) -> None:
        self._queue = queue
        self._network = network
        self._blobs = blobs
        self._bucket = bucket
        self._client = Client(network, queue.sockets)
        self._received_bytes = 0
        self._unsaved_bytes = 0
        self._range_bytes = network.options.range_bytes
        portion_bytes = min(BUFFER_BYTES, _ALL_BUFFERS_BYTES // network.options.connections)
        if bucket:
            portion_bytes = min(portion_bytes, bucket.portion_bytes)
        self._buffer = memoryview(bytearray(portion_bytes))

    def run(self) -> None:
        """Work until there is nothing left to do."""
        with self._client:
            while job := self._queue.next():
                download, claimed = job
                claimed = claimed or self._begin(download)
                if claimed:
                    self._fetch(download, claimed)

    def _begin(self, download: Download) -> Range | None:
        """Open a file, unless somebody is at it or has done it; returns what to fetch of it."""
        stored = self._stored(download)
        if stored and not download.following:
            self._reuse(download, stored)
            return None
        if not download.open(part_path(self._blobs.layout, download.id)):
            self._queue.postpone(download)
            return None
        with contextlib.ExitStack() as undo:
            undo.callback(download.leave)
            stored = self._stored(download)
            if stored and not download.following:
                self._reuse(download, stored)  # finished by another process just now
                return None
            if stored:
                download.borrow(self._blobs.path(stored).as_uri())
            elif not download.use_local():
                download.reserve()
            self._queue.activate(download)
            undo.pop_all()
        if download.ledger.is_complete and not download.is_parallel:
            self._conclude(download)
            return None
        return download.claim()

    def _stored(self, download: Download) -> str | None:
        """The file's sha256 if the store has it."""
        sha256 = download.sha256
        return sha256 if sha256 and self._blobs.has(sha256) else None

    def _reuse(self, download: Download, sha256: str) -> None:
        download.note_reused(self._blobs.path(sha256).stat().st_size)
        self._queue.settle([(download, sha256)])

    def _fetch(self, download: Download, claimed: Range) -> None:
        """Fetch one range, however often that is interrupted."""
        if not download.is_parallel:
            # What an earlier run left has to be hashed before the bytes that follow.
            download.hasher.catch_up(download.part, self._queue.is_stopping)
        patience = Patience(self._network.options, self._queue.stopping.wait)
        self._received_bytes = self._unsaved_bytes = 0
        while download.is_wanted(claimed) and not self._queue.is_stopping():
            try:
                self._attempt(download, claimed)
            except TemporaryError as error:
                if not self._queue.is_stopping():
                    patience.bear(
                        error,
                        path=download.file.path,
                        url=download.route.shown,
                        position=claimed.position,
                    )
        if download.is_parallel and claimed.is_complete:
            self._save(download)
            download.part.begin_to_sync(claimed.start, claimed.mark.done)
        # After a failure it stays taken: all is about to end, and nobody else shall try.
        is_complete = download.release(claimed, self._received_bytes)
        if is_complete and not download.is_parallel:
            self._conclude(download)
        else:
            self._queue.wake()

    def _attempt(self, download: Download, claimed: Range) -> None:
        ask = download.ask(claimed)
        is_first = not download.is_probed
        content, answer = download.route.get(self._client, ask)
        with content:
            if not isinstance(answer, Body):
                download.distrust_ranges()
            elif download.accept(claimed, ask, answer):
                if is_first and download.is_parallel:
                    self._queue.wake()
                self._receive(download, claimed, content)

    def _receive(self, download: Download, claimed: Range, content: Content) -> None:
        """Move bytes from the connection to the file until the range is full.

        Raises:
            TemporaryError: The content ended before.
        """
        while download.is_wanted(claimed) and not self._queue.is_stopping():
            room = download.room(claimed)
            view = self._buffer if room is None else self._buffer[:room]
            count = content.read_into(view)
            if not count:
                if room is not None:
                    raise TemporaryError("the content ended before the file did")
                download.end_stream(claimed)
                return
            download.write(claimed, view[:count])
            self._received_bytes += count
            self._unsaved_bytes += count
            if self._unsaved_bytes >= self._range_bytes:
                self._save(download)
            if self._bucket:
                self._queue.stopping.wait(self._bucket.take(count))
        if claimed.is_complete and not content.is_delimited:
            download.check_end(content.read_into(self._buffer[:1]))

    def _save(self, download: Download) -> None:
        """Save what is there, so that a kill costs at most a range of each connection."""
        download.save(durably=False)
        self._unsaved_bytes = 0

    def _conclude(self, download: Download) -> None:
        sha256 = download.conclude(self._queue.is_stopping)
        if sha256 is None:
            self._queue.wake()
        else:
            self._queue.verified(download, sha256)
