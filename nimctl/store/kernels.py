"""Kernels that servers compiled: a directory for each kind of server and each set of GPUs."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from nimctl import documents
from nimctl.core.engine import WarmedUp
from nimctl.core.layout import Layout
from nimctl.store.locks import held


class KernelStore:
    """The directory of kernels."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def alone(self, name: str, *, on_wait: Callable[[], None]) -> AbstractContextManager[None]:
        """Keep others from warming up under this name meanwhile."""
        return held(self._layout.lock(f"warm-{name}"), on_wait=on_wait)

    def directory(self, key: str, indices: tuple[int, ...]) -> Path:
        """The directory for a server on these GPUs, with what a server like it compiled on others.

        They are copied, since each server writes to its own.
        """
        place = self._layout.kernels(key, indices)
        if not place.exists() and (like := self._warm(key)):
            staged = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
            # A server may write there meanwhile; without a copy this one compiles for itself.
            with contextlib.suppress(OSError, shutil.Error):
                shutil.copytree(like, staged, symlinks=True)
                _own(like, staged)
                staged.rename(place)
                self._mark_alike(place, like)
            shutil.rmtree(staged, ignore_errors=True)
        return place

    def _mark_alike(self, place: Path, like: Path) -> None:
        if found := self.warmed(like):
            self.keep(msgspec.structs.replace(found, cache=str(place)))

    def all(self) -> list[Path]:
        """The directory of each kind of server."""
        return sorted(self._layout.kernels("x", ()).parent.parent.glob("*"))

    def warmed(self, directory: Path) -> WarmedUp | None:
        """What is known of a warm-up that filled a directory; None when none did."""
        return documents.read(_mark(directory), WarmedUp) if directory.is_dir() else None

    def keep(self, found: WarmedUp) -> None:
        """Note that a directory is warm."""
        documents.write(_mark(Path(found.cache)), found)

    def remove(self, found: WarmedUp) -> None:
        """Remove what a warm-up filled, and the copies for other GPUs."""
        directory = Path(found.cache).parent
        if directory.parent == self._layout.kernels("", ()).parent:
            shutil.rmtree(directory, ignore_errors=True)

    def _warm(self, key: str) -> Path | None:
        marks = sorted(self._layout.kernels(key, ()).parent.glob("gpu*.json"))
        return next((mark.with_suffix("") for mark in marks if mark.with_suffix("").is_dir()), None)


def _mark(directory: Path) -> Path:
    # Beside it: what lies in it is the server's to write.
    return directory.with_name(f"{directory.name}.json")


def _own(source: Path, copy: Path) -> None:
    """Give a copy to the owners of the original, which only root can and only root has to."""
    if os.geteuid() != 0:
        return
    for path in (source, *source.rglob("*")):
        status = path.lstat()
        target = copy / path.relative_to(source)
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
