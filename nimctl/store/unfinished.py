"""What fetches need that have begun and not ended, so that nobody removes it meanwhile.

Until an artifact is pinned nothing else tells that its blobs are needed: those that came already,
and those that were there before.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from nimctl.core.facts import File
from nimctl.core.layout import Layout
from nimctl.store.locks import held, try_lock
from nimctl.store.transfer.part import part_path
from nimctl.store.transfer.receipts import Receipts
from nimctl.store.transfer.state import FOLLOWED, transfer_id

_NOTE, _RECEIPTS = ".wanted", ".receipts"
_LINE = re.compile(r"([0-9a-f]{64})\n")


class Leftover(NamedTuple):
    """What lies there of one fetch, or of the transfer of one file."""

    name: str
    paths: tuple[Path, ...]
    is_fetch: bool


class Unfinished:
    """The fetches that are under way or were interrupted, each by a name of its own.

    A fetch that is under way holds the lock `fetch-NAME`.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._directory = layout.partial("_").parent

    def want(self, name: str, files: Iterable[File]) -> None:
        """Note what a fetch needs, before it looks for it; waits while others remove blobs."""
        known = {word for file in files for word in (file.sha256, transfer_id(file)) if word}
        with self.removing():
            self._directory.mkdir(parents=True, exist_ok=True)
            new = known.difference(self._words(name))
            with self._note(name).open("a") as note:
                note.write("".join(f"{word}\n" for word in sorted(new)))

    def forget(self, name: str) -> None:
        """What a fetch brought is pinned, or needed no more."""
        self._note(name).unlink(missing_ok=True)

    def give_up(self, name: str) -> None:
        """Forget a fetch that was interrupted, and what its files became."""
        if not self._is_running(name):
            self.forget(name)
            Receipts(self._layout.partial(name + _RECEIPTS)).remove()

    def removing(self) -> AbstractContextManager[None]:
        """Let no fetch begin while it is decided which blobs are needed, and the others go."""
        return held(self._layout.lock("blobs"))

    def needed(self, *, running: bool = False) -> frozenset[str]:
        """The sha256 of all that fetches need, interrupted ones too unless only those `running`."""
        names = {path.stem for path in self._directory.glob(f"*{_NOTE}")}
        if running:
            names = {name for name in names if self._is_running(name)}
        return frozenset(word for name in names for word in self._words(name))

    def abandoned(self) -> Iterator[Leftover]:
        """What no process is at; none begins with it before the next one is asked for."""
        running = self.needed(running=True)
        groups: dict[str, list[Path]] = {}
        for path in sorted(self._directory.glob("*")):
            groups.setdefault(path.name.partition(".")[0], []).append(path)
        for name, paths in groups.items():
            if name.removesuffix(FOLLOWED) not in running:
                is_fetch = any(path.suffix in (_NOTE, _RECEIPTS) for path in paths)
                leftover = Leftover(name, tuple(paths), is_fetch)
                with self._alone(leftover) as is_alone:
                    if is_alone:
                        yield leftover

    @contextmanager
    def _alone(self, at: Leftover) -> Iterator[bool]:
        path = self._fetch_lock(at.name) if at.is_fetch else part_path(self._layout, at.name)
        # The part file is its own lock, and stays.
        stays = not at.is_fetch and path.exists()
        lock = try_lock(path)
        try:
            yield lock is not None
        finally:
            if lock and stays:
                lock.close()
            elif lock:
                lock.release()

    def _is_running(self, name: str) -> bool:
        lock = try_lock(self._fetch_lock(name))
        if lock:
            lock.release()
        return lock is None

    def _words(self, name: str) -> Iterator[str]:
        with suppress(FileNotFoundError):  # it has ended just now
            yield from _LINE.findall(self._note(name).read_text())
        yield from Receipts(self._layout.partial(name + _RECEIPTS)).read().values()

    def _note(self, name: str) -> Path:
        return self._layout.partial(name + _NOTE)

    def _fetch_lock(self, name: str) -> Path:
        return self._layout.lock(f"fetch-{name}")
