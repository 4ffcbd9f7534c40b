"""Locks across processes and threads, released by the kernel when their holder dies.

flock(2) belongs to an open file description: two threads that open the file each conflict just as
two processes do. The file is removed by its holder, so a lock that was had while the file changed
hands is let go and tried again.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from nimctl.core.errors import UsageError
from nimctl.store.disk import translated_disk_errors


class Lock:
    """A lock that is held: an open, locked file."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    def release(self) -> None:
        """Remove the lock's file and let go; in this order, or a waiter's file would be removed."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of a file that stays, or that was renamed."""
        os.close(self.descriptor)


def try_lock(path: Path) -> Lock | None:
    """Take the lock; None when another process or thread has it.

    The file at `path` is made if it is missing, and open for reading and writing.

    Raises:
        UsageError: The file system cannot lock, or this user may not write there.
    """
    try:
        return _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None


@contextlib.contextmanager
def held(path: Path, *, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock at `path`; `on_wait` is called once if another has it.

    Raises:
        UsageError: The file system cannot lock, or this user may not write there.
    """
    lock = try_lock(path)
    if lock is None:
        if on_wait:
            on_wait()
        lock = _lock(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        lock.release()


def _lock(path: Path, operation: int) -> Lock:
    while True:
        with contextlib.ExitStack() as undo:
            descriptor = _open(path)
            undo.callback(os.close, descriptor)
            _flock(descriptor, path, operation)
            if _is_current(descriptor, path):
                undo.pop_all()
                return Lock(path, descriptor)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    with translated_disk_errors(path):
        try:
            return os.open(path, flags, 0o644)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, flags, 0o644)


def _flock(descriptor: int, path: Path, operation: int) -> None:
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        raise
    except OSError as error:
        raise UsageError(
            f"{path.parent} cannot hold locks",
            cause=f"its file system answers: {error.strerror}",
            hint="set NIMCTL_HOME to a directory on a local disk",
        ) from error


def _is_current(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)
