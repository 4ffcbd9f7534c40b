"""The part file of an unfinished transfer, and its state beside it."""

import contextlib
import os
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Self

from nimctl.core.layout import Layout
from nimctl.store.disk import translated_disk_errors
from nimctl.store.locks import Lock, try_lock
from nimctl.store.syncing import begin_to_sync
from nimctl.store.transfer.local import link, open_local
from nimctl.store.transfer.state import State, decode, encode

_STATE, _NEW_STATE = ".state", ".new"
_AHEAD_BYTES = 16 * 2**20
_STATE_BYTES = 64 * 2**10
_NOT_WORTH_RESERVING_BYTES = 2**20

# The system gives the number of a closed descriptor to the next file that anybody opens.
_CLOSED = -1


def part_path(layout: Layout, transfer_id: str) -> Path:
    """Where the bytes of an unfinished transfer are; its state is beside them."""
    return layout.partial(f"{transfer_id}.part")


def state_path(part: Path) -> Path:
    """Where the state of a part file is."""
    return part.with_suffix(_STATE)


def remove_leftovers(part: Path) -> None:
    """Remove what a process left that was killed when it had just given the file its name."""
    if not part.exists():
        for suffix in (_STATE, _NEW_STATE):
            part.with_suffix(suffix).unlink(missing_ok=True)


class Part:
    """A file that is written at any place; closed, it stays for another day.

    It is its own lock: whoever has it open this way is the only one. (Lock files and directories of
    their own would be made and removed for each of thousands of small files, which ext4 punishes:
    it passes over recently freed inodes one by one.)

    Raises:
        DiskFullError: From any method that writes.
    """

    def __init__(self, lock: Lock) -> None:
        self.path = lock.path
        self._lock = lock
        self._descriptor = lock.descriptor
        self._has_state = True
        self._reserved = 0
        self._borrowed: int | None = None
        self._link: Path | None = None
        self._saving = threading.Lock()  # whoever completes the last range may come late to it

    @cached_property
    def _state(self) -> Path:
        return state_path(self.path)

    @cached_property
    def _new_state(self) -> Path:
        return self.path.with_suffix(_NEW_STATE)

    @classmethod
    def open(cls, path: Path) -> Self | None:
        """Open the part file at `path`; None while another process or thread has it."""
        lock = try_lock(path)
        return cls(lock) if lock else None

    @property
    def size(self) -> int:
        """The present length in bytes, reserved space included."""
        return os.fstat(self._source).st_size

    @property
    def is_borrowed(self) -> bool:
        """Whether the bytes are those of another file."""
        return self._borrowed is not None

    def borrow(self, descriptor: int) -> None:
        """Have another file's bytes read, which has all of them; it is closed with this one."""
        self._borrowed = descriptor

    def share(self, url: str) -> bool:
        """Have a local file's bytes by a second name of it, which nobody changes.

        Returns whether that is possible.
        """
        name = self.path.with_suffix(".link")
        if not link(url, name):
            return False
        self._borrowed, self._link = open_local(name.as_uri()), name
        return True

    @property
    def staged_path(self) -> Path:
        """The file that has the bytes."""
        return self._link or self.path

    @property
    def descriptor(self) -> int:
        """For those who copy within the kernel."""
        return self._descriptor

    def reserve(self, size: int) -> None:
        """Have the file system set the space aside, so that a full disk shows before the bytes."""
        if size > _NOT_WORTH_RESERVING_BYTES:
            with translated_disk_errors(self.path):
                os.posix_fallocate(self._descriptor, 0, size)
        self._reserved = size

    def write(self, view: memoryview, offset: int) -> None:
        """Write all of `view` at `offset`."""
        if offset + len(view) > self._reserved:
            self._reserve_ahead(offset, len(view))
        with translated_disk_errors(self.path):
            while view:
                written = os.pwrite(self._descriptor, view, offset)
                view = view[written:]
                offset += written

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill `view` from `offset`; returns how many bytes were there."""
        return os.preadv(self._source, [view], offset)

    def begin_to_sync(self, start: int, count: int) -> None:
        """Have the kernel begin to bring these bytes to the disk."""
        if self._descriptor != _CLOSED:
            begin_to_sync(self._descriptor, start, count)

    def truncate(self, size: int) -> None:
        """Cut off what lies beyond the end."""
        if self.size != size:
            os.ftruncate(self._descriptor, size)

    def load(self) -> State | None:
        """The saved state; None when there is none that can be used."""
        self._has_state = self.size > 0 and (self._state.exists() or self._new_state.exists())
        with contextlib.suppress(FileNotFoundError):
            return decode(self._state.read_bytes()) if self._has_state else None
        return None

    def save(self, state: Callable[[], State], *, durably: bool) -> None:
        """Replace the saved state by one rename; nothing happens once the file is closed.

        `durably` brings the bytes, then the state to the disk. After a power failure it may claim
        more than the disk has; the pieces' checksums show that.
        """
        with translated_disk_errors(self.path):
            if durably:
                os.fdatasync(self._descriptor)
            with self._saving:
                if self._descriptor != _CLOSED:
                    self._write(encode(state()), durably=durably)

    def forget(self) -> None:
        """Remove the saved state: what is there is not believed any more.

        A state that is being saved just now may stay; the pieces' checksums show what it is worth.
        """
        self._give_back()
        self._remove_state()

    def close(self) -> None:
        """Close the file and let others have it."""
        with self._saving:
            self._leave()
            self._lock.close()

    def hand_over(self) -> None:
        """Remove the state and close: the file has its final name."""
        with self._saving:
            self._clean_up()
            self._lock.close()

    def discard(self) -> None:
        """Remove the file and its state, and close."""
        with self._saving:
            self._clean_up()
            self._lock.release()

    def _write(self, state: bytes, *, durably: bool) -> None:
        with self._new_state.open("wb") as file:
            file.write(state)
            if durably:
                file.flush()
                os.fsync(file.fileno())
        self._new_state.replace(self._state)
        self._has_state = True

    def _remove_state(self) -> None:
        if self._has_state:
            self._has_state = False
            self._state.unlink(missing_ok=True)

    def _clean_up(self) -> None:
        if self._has_state:
            self._new_state.unlink(missing_ok=True)
        self._remove_state()
        self._leave()

    def _leave(self) -> None:
        self._give_back()
        self._descriptor = _CLOSED

    @property
    def _source(self) -> int:
        return self._descriptor if self._borrowed is None else self._borrowed

    def _give_back(self) -> None:
        if self._borrowed is not None:
            os.close(self._borrowed)
            self._borrowed = None
        if self._link is not None:
            self._link.unlink(missing_ok=True)
            self._link = None

    def _reserve_ahead(self, offset: int, length: int) -> None:
        """Reserve for a stream of unknown length, less far when the disk is nearly full.

        A little more is reserved than is used. When that fails, it is given back: room for the
        state.
        """
        with translated_disk_errors(self.path), contextlib.ExitStack() as undo:
            undo.callback(self.truncate, offset)
            ahead = length
            with contextlib.suppress(OSError):
                os.posix_fallocate(self._descriptor, offset, _AHEAD_BYTES + _STATE_BYTES)
                ahead = _AHEAD_BYTES
            os.posix_fallocate(self._descriptor, offset, ahead + _STATE_BYTES)
            undo.pop_all()
        self._reserved = offset + ahead
