"""Failures of the disk, in words."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from nimctl.core.errors import from_os_error


@contextlib.contextmanager
def translated_disk_errors(path: Path) -> Iterator[None]:
    """Name `path` where the system does not, as with descriptors, and translate.

    Raises:
        DiskFullError: The file system, or this user's share of it, is full.
        UsageError: This user may not write there.
    """
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        translated = from_os_error(error)
        if translated is None:
            raise
        raise translated from error
