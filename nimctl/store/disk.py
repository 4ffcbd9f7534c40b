"""What a full or read-only disk means, in words."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from nimctl.core.errors import DiskFullError, UsageError

_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


@contextlib.contextmanager
def translated_disk_errors(path: Path) -> Iterator[None]:
    """Translate what writing at or below `path` may meet.

    Raises:
        DiskFullError: The file system, or this user's share of it, is full.
        UsageError: This user may not write there, or it is no directory.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"there is no room left under {path}",
                cause=error.strerror,
                hint="free some space and run the same command again; it goes on where it stopped",
            ) from error
        if error.errno in _NOT_ALLOWED:
            raise UsageError(
                f"{path} cannot be written",
                cause=error.strerror,
                hint="set NIMCTL_HOME to a directory that you may write to",
            ) from error
        raise
