"""Archives become blobs of what they hold, unpacked while they arrive."""

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from nimctl.core.archives import member_url, unpacked
from nimctl.core.errors import VerificationError
from nimctl.core.facts import Artifact, File
from nimctl.core.layout import Layout
from nimctl.store.extract import Extractor, Member, kind_of
from nimctl.store.extract.background import Background
from nimctl.store.transfer.follower import Made, MakeFollower
from nimctl.store.transfer.state import transfer_id

_MAGIC_BYTES = 512
_PIECE_BYTES = 256 * 1024


class Unpacker:
    """Unpacks the archives of artifacts, each while it arrives."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def begin(self, archives: Sequence[File]) -> "Unpacking":
        """Prepare to follow the transfer of these archives."""
        return Unpacking(archives, self._layout)


class _Contents(NamedTuple):
    members: tuple[Member, ...]
    empty_directories: tuple[str, ...]


class Unpacking:
    """The archives of one artifact, on their way."""

    def __init__(self, archives: Sequence[File], layout: Layout) -> None:
        self._archives = archives
        self._layout = layout
        self._contents: dict[str, _Contents] = {}

    @property
    def followers(self) -> Mapping[str, MakeFollower]:
        """What unpacks each archive along with its transfer, by the archive's path."""
        return {archive.path: partial(self._follower, archive) for archive in self._archives}

    def settle(self, fetched: Artifact) -> Artifact:
        """The artifact with what its archives hold in their place.

        Raises:
            VerificationError: A member has the name of another file.
        """
        by_path = {file.path: file for file in fetched.files}
        for archive in self._archives:
            source = by_path[archive.path]
            inside = self._contents[transfer_id(archive)]
            members = (_file(source, member) for member in inside.members)
            fetched = unpacked(fetched, source, members, inside.empty_directories)
        return fetched

    def _follower(self, archive: File) -> "Attempt":
        # The lock of the transfer's part is the staging directory's too.
        transfer = transfer_id(archive, is_followed=True)
        staging = self._layout.partial(transfer).with_suffix(".unpack")
        note = partial(self._contents.__setitem__, transfer_id(archive))
        return Attempt(archive, staging, note)


def _file(archive: File, member: Member) -> File:
    return File(
        path=member.path,
        url=member_url(archive, member.path),
        size=member.size,
        digests={"sha256": member.sha256},
    )


class Attempt:
    """Follows one archive from its first byte, and unpacks it in a thread of its own.

    A malformed archive whose digest is known is no failure before `finish`: it may have been
    damaged on the way, which the digest will tell.
    """

    def __init__(self, archive: File, staging: Path, note: Callable[[_Contents], None]) -> None:
        self._archive = archive
        self._staging = staging
        self._note = note
        self._lock = threading.Lock()
        self._first_bytes = b""
        self._extractor: Extractor | None = None
        self._background = Background("nimctl-unpack")
        self._failure: VerificationError | None = None
        self._is_closed = False

    def feed(self, view: memoryview) -> None:
        """Unpack what the next bytes hold; waits while the extractor is far behind.

        Raises:
            VerificationError: The archive is malformed, and it has no digest.
            DiskFullError: There is no room for what it holds.
            UsageError: A package that this kind of archive needs is not installed.
        """
        with self._lock:
            if self._is_closed or self._failure:
                return
            with self._failing():
                if self._extractor:
                    self._hand_over(self._extractor, view)
                    return
                self._first_bytes += view
                if len(self._first_bytes) >= _MAGIC_BYTES:
                    self._opened()

    def finish(self) -> Made:
        """Unpack the rest.

        Raises:
            VerificationError: The archive is malformed, cut off, or has what is not unpacked.
            DiskFullError: There is no room for what it holds.
        """
        with self._lock:
            inside = self._contents()
        self._note(inside)
        return Made(
            files=tuple((self._staging / one.path, one.sha256) for one in inside.members),
            note=f"unpacked, {len(inside.members)} files",
        )

    def _contents(self) -> _Contents:
        if self._failure is None:
            with self._failing():
                extractor = self._opened()
                self._background.finish()
                return _Contents(extractor.finish(), extractor.empty_directories)
        raise self._failure

    def close(self) -> None:
        """Remove what was unpacked and has not been adopted."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._background.close()
                if self._extractor:
                    self._extractor.close()
                    shutil.rmtree(self._staging, ignore_errors=True)

    def _opened(self) -> Extractor:
        if self._extractor is None:
            kind = kind_of(self._archive.path, self._first_bytes)
            if kind is None:
                raise VerificationError(f"{self._archive.path} is no archive that can be unpacked")
            shutil.rmtree(self._staging, ignore_errors=True)  # of a process that was killed
            with contextlib.ExitStack() as undo:
                self._staging.mkdir(mode=0o700, parents=True)
                undo.callback(shutil.rmtree, self._staging)
                self._extractor = Extractor(self._staging, kind)
                undo.pop_all()
            self._hand_over(self._extractor, memoryview(self._first_bytes))
        return self._extractor

    def _hand_over(self, extractor: Extractor, view: memoryview) -> None:
        for start in range(0, len(view), _PIECE_BYTES):
            piece = bytes(view[start : start + _PIECE_BYTES])
            self._background.submit(partial(extractor.feed, piece), len(piece))

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except VerificationError as error:
            self._failure = VerificationError(
                f"{self._archive.path}: {error.message}", cause=error.cause, hint=error.hint
            )
            if not self._archive.digests:
                raise self._failure from error
