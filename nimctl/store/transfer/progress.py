"""From the state of a transfer to events."""

from nimctl.core.events import Emit, Finished, Progressed, Started
from nimctl.store.transfer.download import Download
from nimctl.store.transfer.queue import Queue


class Reporter:
    """Says what is new since it last looked. One thread calls it, so `emit` need not lock."""

    def __init__(self, queue: Queue, emit: Emit) -> None:
        self._queue = queue
        self._emit = emit
        self._told: dict[str, int] = {}

    def report(self) -> None:
        """Emit what is new."""
        notes, settled = self._queue.news()
        for note in notes:
            self._emit(note)
        for download in self._queue.active():
            self._progress(download, download.ledger.done_bytes)
        for download in settled:
            self._progress(download, download.result_bytes)
            for file in download.files:
                self._emit(Finished(task=file.path, note=_note(download)))

    def _progress(self, download: Download, done: int) -> None:
        told = self._told.get(download.id)
        if told == done:
            return
        self._told[download.id] = done
        for file in download.files:
            if told is None:
                self._emit(Started(task=file.path, title=file.path, total=file.size))
            self._emit(Progressed(task=file.path, done=done))


def _note(download: Download) -> str | None:
    notes = []
    if not download.fetched_bytes and download.result_bytes:
        notes.append("reused")
    elif download.kept_bytes:
        notes.append(f"resumed at {download.kept_bytes / 2**20:,.1f} MiB")
    if download.following and download.following.made:
        notes.append(download.following.made.note)
    return "; ".join(notes) or None
