"""The extractor: bytes in as they arrive, files out."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from nimctl.core.closing import Closing
from nimctl.store.extract.background import Background
from nimctl.store.extract.decoders import decoder
from nimctl.store.extract.files import Files
from nimctl.store.extract.kinds import Kind
from nimctl.store.extract.limits import ExtractLimits, Inflation
from nimctl.store.extract.members import Member
from nimctl.store.extract.staging import Staging
from nimctl.store.extract.stream import Steps, Stream
from nimctl.store.extract.tar import read_tar
from nimctl.store.extract.zip import read_zip


class Extractor(Closing):
    """Unpacks one archive into `directory`, which is fresh, and private to the caller.

        with Extractor(directory, "tar.gz") as extractor:
            for chunk in chunks:
                extractor.feed(chunk)
            members = extractor.finish()

    `on_file` is called, by the thread that feeds, for each file once it is written and hashed.
    Until `finish` has returned, nothing in `directory` may be used; after an error the caller
    removes it. What is fed may be changed as soon as `feed` has returned.
    """

    def __init__(
        self,
        directory: Path,
        kind: Kind,
        *,
        limits: ExtractLimits | None = None,
        on_file: Callable[[Member], None] | None = None,
    ) -> None:
        limits = limits or ExtractLimits()
        self._on_file = on_file
        self._members: list[Member] = []
        self._is_closed = False
        self._decoder = decoder(kind)
        self._inflation = Inflation(limits)
        self._stream = Stream()
        self._files = Files(directory, max_directories=limits.max_members)
        self._background = Background("nimctl-extract")
        self._staging = staging = Staging(self._files, self._background, limits)
        self._reader: Steps[None] = (
            read_zip(self._stream, staging, self._inflation)
            if kind == "zip"
            else read_tar(self._stream, staging)
        )
        next(self._reader)

    @property
    def empty_directories(self) -> tuple[str, ...]:
        """The directories in which there is nothing, once `finish` has returned."""
        return self._staging.empty_directories

    def feed(self, data: bytes | memoryview) -> None:
        """Unpack what the next bytes hold.

        Raises:
            VerificationError: The archive is malformed, or has what is not unpacked.
            DiskFullError: There is no room.
        """
        with self._closed_by_errors():
            self._inflation.packed(len(data))
            for piece in self._decoder.decode(data):
                self._inflation.unpacked(len(piece))
                self._stream.arrive(piece)
                next(self._reader)
            self._announce()

    def finish(self) -> tuple[Member, ...]:
        """Say that all bytes have been fed; the files, in the archive's order.

        Raises:
            VerificationError: The archive is cut off, or contradicts itself.
            DiskFullError: There is no room.
        """
        with self._closed_by_errors():
            self._decoder.finish()
            self._stream.end()
            next(self._reader, None)
            self._background.finish()
            self._announce()
            return tuple(self._members)

    def close(self) -> None:
        """Stop, if need be half-way, and close what is open."""
        if not self._is_closed:
            self._is_closed = True
            self._background.close()
            self._files.close()

    @contextlib.contextmanager
    def _closed_by_errors(self) -> Iterator[None]:
        """After an error nothing may be taken for an archive's end."""
        if self._is_closed:
            raise ValueError("the extractor is closed")
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            yield
            undo.pop_all()

    def _announce(self) -> None:
        while self._files.done:
            member = self._files.done.popleft()
            self._members.append(member)
            if self._on_file:
                self._on_file(member)
