"""Archives in the blob store become blobs of what they hold."""

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from nimctl.core.archives import archives_in, member_url, unpacked
from nimctl.core.errors import VerificationError
from nimctl.core.events import Emit, Finished, Progressed, Started
from nimctl.core.facts import Artifact, File
from nimctl.core.layout import Layout
from nimctl.store.blobs import BlobStore
from nimctl.store.extract import Extractor, Member, kind_of

_CHUNK_BYTES = 1 << 20
_MAGIC_BYTES = 512


class Unpacker:
    """Unpacks the archives of a fetched artifact."""

    def __init__(self, layout: Layout, blobs: BlobStore) -> None:
        self._layout = layout
        self._blobs = blobs

    def unpack(self, artifact: Artifact, emit: Emit) -> Artifact:
        """Put every member into the blob store, and drop the archives' own blobs.

        Nothing of an archive becomes a blob before all of it was read and checked.

        Raises:
            VerificationError: An archive is malformed, or has what is not unpacked.
            DiskFullError: There is no room.
        """
        for archive in archives_in(artifact):
            members = tuple(self._members(archive, emit))
            artifact = unpacked(artifact, archive, members)
            self._blobs.remove(archive.sha256 or "")
        return artifact

    def _members(self, archive: File, emit: Emit) -> Iterator[File]:
        source = self._blobs.path(archive.sha256 or "")
        staging = self._layout.partial(f"unpack-{secrets.token_hex(8)}")
        staging.mkdir(mode=0o700, parents=True)
        emit(Started(task="unpack", title=f"unpacking {archive.path}", total=archive.size))
        try:
            members = _extract(source, archive.path, staging, emit)
            self._blobs.adopt_all([(staging / one.path, one.sha256) for one in members])
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        emit(Finished(task="unpack", note=f"{len(members)} files"))
        for one in members:
            url = member_url(archive, one.path)
            yield File(path=one.path, url=url, size=one.size, digests={"sha256": one.sha256})


def _extract(source: Path, name: str, staging: Path, emit: Emit) -> tuple[Member, ...]:
    with source.open("rb") as file:
        kind = kind_of(name, file.read(_MAGIC_BYTES))
        if kind is None:
            raise VerificationError(f"{name} is no archive that can be unpacked")
        file.seek(0)
        with Extractor(staging, kind) as extractor:
            buffer = memoryview(bytearray(_CHUNK_BYTES))
            while count := file.readinto(buffer):
                extractor.feed(buffer[:count])
                emit(Progressed(task="unpack", done=file.tell()))
            return extractor.finish()
