"""Files on disk, written once and hashed on the way.

Every name is resolved from the directory's own descriptor, part by part and without following
links, so nothing can come to lie outside, whatever else happens in the file system.
"""

import contextlib
import errno
import hashlib
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from nimctl.core.errors import DiskFullError, VerificationError
from nimctl.store.disk import translated_disk_errors
from nimctl.store.extract.limits import exceeded
from nimctl.store.extract.members import Member
from nimctl.store.syncing import begin_to_sync

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE_BYTES = 256 * 1024
_SYNC_BYTES = 32 * 2**20
_SYNC_REST_BYTES = 2**20
_WRITE_PIECES = 512  # below IOV_MAX, which is 1024 on Linux and macOS


class Files:
    """Files and directories below `directory`, which exists and is nobody else's.

    Used by one thread at a time. `done` has each file once it is written and hashed.
    """

    def __init__(self, directory: Path, *, max_directories: int) -> None:
        self.done: deque[Member] = deque()
        self._directory = directory
        self._directories_left = max_directories
        self._root = os.open(directory, _DIRECTORY)
        self._parent = ("", os.dup(self._root))
        self._file: _File | None = None

    def make_directory(self, path: str) -> None:
        """Make a directory and those above it, unless they are there.

        Raises:
            VerificationError: There are too many, or something else has that name.
            DiskFullError: There is no room.
        """
        if path != self._parent[0]:
            with self._translated(path):
                descriptor = self._descend(path)
            os.close(self._parent[1])
            self._parent = (path, descriptor)

    def begin(self, path: str, size: int | None) -> None:
        """Begin a new file, of `size` bytes where that is known.

        Raises:
            VerificationError: Something has that name already.
            DiskFullError: There is no room.
        """
        parent, _, name = path.rpartition("/")
        self.make_directory(parent)
        with self._translated(path):
            self._check_room(path, size or 0)
            self._file = _File(path, os.open(name, _NEW_FILE, 0o644, dir_fd=self._parent[1]))

    def append(self, piece: bytes | memoryview) -> None:
        """Append to the file; `piece` must never change.

        Raises:
            DiskFullError: There is no room.
        """
        if self._file:
            with self._translated(self._file.path):
                self._file.append(piece)

    def end(self) -> None:
        """Finish the file.

        Raises:
            DiskFullError: There is no room.
        """
        if self._file:
            with self._translated(self._file.path):
                self.done.append(self._file.finish())
            self._file = None

    def close(self) -> None:
        """Close what is open."""
        for descriptor in (self._root, self._parent[1]):
            os.close(descriptor)
        if self._file:
            self._file.close()

    def _descend(self, path: str) -> int:
        """Open a directory, making it and those above it where they are missing."""
        descriptor = os.dup(self._root)
        for part in path.split("/") if path else ():
            try:
                below = self._open_or_make(part, descriptor)
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor

    def _open_or_make(self, name: str, parent: int) -> int:
        try:
            return os.open(name, _DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            self._directories_left -= 1
            if self._directories_left < 0:
                raise exceeded("it has too many directories") from None
            os.mkdir(name, 0o755, dir_fd=parent)
            return os.open(name, _DIRECTORY, dir_fd=parent)

    def _check_room(self, path: str, size: int) -> None:
        if not size:
            return
        there = os.fstatvfs(self._root)
        free = there.f_bavail * there.f_frsize
        if size > free:
            raise DiskFullError(
                f"{path!r} does not fit under {self._directory}",
                cause=f"it has {size} bytes, and {free} are free",
                hint="free some space and run the same command again",
            )

    @contextlib.contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        with translated_disk_errors(self._directory):
            try:
                yield
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ELOOP, errno.ENOTDIR):
                    raise
                raise VerificationError(
                    f"{path!r} cannot be unpacked: something else has that name",
                    cause=f"another program writes to {self._directory}",
                ) from error


class _File:
    """One open file; small pieces are gathered into large writes without copying them."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._sha256 = hashlib.sha256()
        self._size = 0
        self._syncing = 0
        self._pieces: list[bytes | memoryview] = []
        self._pieces_bytes = 0

    def append(self, piece: bytes | memoryview) -> None:
        self._pieces.append(piece)
        self._pieces_bytes += len(piece)
        if self._pieces_bytes >= _WRITE_BYTES or len(self._pieces) >= _WRITE_PIECES:
            self._flush()

    def finish(self) -> Member:
        self._flush()
        self._begin_to_sync(_SYNC_REST_BYTES)
        self.close()
        return Member(path=self.path, size=self._size, sha256=self._sha256.hexdigest())

    def close(self) -> None:
        os.close(self._descriptor)

    def _flush(self) -> None:
        pieces, count = self._pieces, self._pieces_bytes
        self._pieces, self._pieces_bytes = [], 0
        if not pieces:
            return
        for piece in pieces:
            self._sha256.update(piece)
        self._size += count
        written = os.writev(self._descriptor, pieces)
        if written < count:
            self._write_rest(memoryview(b"".join(pieces))[written:])
        self._begin_to_sync(_SYNC_BYTES)

    def _begin_to_sync(self, at_least: int) -> None:
        count = self._size - self._syncing
        if count >= at_least:
            begin_to_sync(self._descriptor, self._syncing, count)
            self._syncing = self._size

    def _write_rest(self, rest: memoryview) -> None:
        """Go on after a write that stopped short; a full disk fails here."""
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
