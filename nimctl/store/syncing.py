"""Bringing what was written to the disk."""

import contextlib
import ctypes
import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

_FEW = 4
_SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h


def sync(paths: Sequence[Path]) -> None:
    """Bring files or directories, all of one file system, to the disk; returns when they are.

    Raises:
        OSError: The disk failed, or it is full.
    """
    if len(paths) > _FEW:
        # One syncfs(2) commits the journal once; fsync(2) would do so for each file.
        with _opened(paths[0]) as descriptor:
            if _libc().syncfs(descriptor):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), str(paths[0]))
        return
    for path in paths:
        with _opened(path) as descriptor:
            os.fsync(descriptor)


def begin_to_sync(descriptor: int, start: int, count: int) -> None:
    """Have the kernel write `count` bytes of a file from `start` on, so that `sync` waits less.

    The kernel would let them lie for half a minute, or until they are a tenth of the memory.
    """
    write = _sync_file_range()
    if write:  # it is only a wish, so that failing does not matter
        write(descriptor, start, count, _SYNC_FILE_RANGE_WRITE)


@functools.cache
def _sync_file_range() -> "ctypes._NamedFuncPointer | None":
    function = getattr(_libc(), "sync_file_range", None)  # Linux only
    if function:
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
