"""Local files as sources: read like an answer to a request, or cloned by the file system."""

import fcntl
import os
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

from nimctl.core.closing import Closing
from nimctl.core.errors import NotFoundError
from nimctl.store.transfer.answers import Ask, Body

_FICLONE = 0x40049409  # linux/fs.h; Python has it from 3.14 on


def is_local(url: str) -> bool:
    """Whether the URL names a file of this machine."""
    return url.startswith("file://")


class LocalContent(Closing):
    """An open local file, from where it was asked for."""

    is_delimited = True

    def __init__(self, url: str, ask: Ask) -> None:
        self._descriptor = open_local(url)
        self._position = ask.start
        found = os.fstat(self._descriptor)
        version = f'"{found.st_ino}-{found.st_mtime_ns}"'
        self.body = Body(ask.start, found.st_size, version, is_range=True)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def discard(self) -> None:
        """Close without reading."""
        self.close()

    def read_into(self, view: memoryview) -> int:
        """Read on; 0 at the end."""
        count = os.preadv(self._descriptor, [view], self._position)
        self._position += count
        return count


def clone(url: str, descriptor: int) -> bool:
    """Have the file system share the blocks of a local file, if it can; returns whether it did.

    Raises:
        NotFoundError: There is no such file, or it may not be read.
    """
    source = open_local(url)
    try:
        fcntl.ioctl(descriptor, _FICLONE, source)
    except OSError:
        return False
    finally:
        os.close(source)
    return True


def link(url: str, name: Path) -> bool:
    """Give a file of this user's a second name on its own file system; returns whether it could."""
    path = Path(unquote(urlsplit(url).path))
    try:
        if path.stat().st_uid != os.geteuid():
            return False
        name.unlink(missing_ok=True)
        name.hardlink_to(path.resolve())
    except OSError:
        return False
    return True


def open_local(url: str) -> int:
    """Open a local file for reading.

    Raises:
        NotFoundError: There is no such regular file, or it may not be read.
    """
    path = Path(unquote(urlsplit(url).path))
    try:
        # A named pipe would block here for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read", cause=error.strerror) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotFoundError(f"{path} is not a regular file")
    return descriptor
