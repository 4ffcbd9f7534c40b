"""Putting the store's files somewhere else: hard links where they can be, copies where not."""

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nimctl.core.errors import NotFoundError
from nimctl.core.facts import Destination
from nimctl.core.layout import Layout
from nimctl.store.disk import translated_disk_errors

# Another file system, one without links, or as many links as a file may have.
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK)
_READABLE = 0o644


def observe(directory: Path, layout: Layout) -> Destination:
    """What is known of a directory before anything is put there."""
    there = _nearest(directory)
    return Destination(
        directory=str(directory),
        free_bytes=shutil.disk_usage(there).free,
        shares_disk=there.stat().st_dev == _nearest(layout.root).stat().st_dev,
        is_writable=os.access(there, os.W_OK | os.X_OK),
    )


def place(source: Path, sha256: str, target: Path) -> bool:
    """Have the file `source` at `target`; False when it lies there already.

    What lies there and is another file is replaced by one rename.

    Raises:
        NotFoundError: `source` is not there any more.
        DiskFullError: There is no room for a copy.
        UsageError: This user may not write there.
    """
    if _is_there(source, sha256, target):
        return False
    with translated_disk_errors(target.parent), _staged(target) as staged:
        try:
            os.link(source, staged)
        except FileNotFoundError as error:
            raise NotFoundError(
                f"{target.name} is not in the store any more", hint="run the command again"
            ) from error
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            _copy(source, staged)
    return True


def point(target: Path, to: str) -> None:
    """Have a symbolic link at `target` that leads to `to`."""
    if target.is_symlink() and str(target.readlink()) == to:
        return
    with translated_disk_errors(target.parent), _staged(target) as staged:
        staged.symlink_to(to)


def write(target: Path, text: str) -> None:
    """Have a file at `target` that holds `text`."""
    with translated_disk_errors(target.parent), _staged(target) as staged:
        staged.write_text(text)


@contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """A name beside `target` that takes its place at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_name(f".{secrets.token_hex(8)}")
    try:
        yield staged
        staged.replace(target)
    finally:
        staged.unlink(missing_ok=True)


def _copy(source: Path, staged: Path) -> None:
    shutil.copyfile(source, staged)
    with staged.open("rb+") as file:
        os.fsync(file.fileno())
    staged.chmod(_READABLE)


def _is_there(source: Path, sha256: str, target: Path) -> bool:
    try:
        if target.samefile(source):
            return True
        if target.stat().st_size != source.stat().st_size:
            return False
        with target.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False


def _nearest(path: Path) -> Path:
    """The path, or the nearest of its parents that exists."""
    return next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())
