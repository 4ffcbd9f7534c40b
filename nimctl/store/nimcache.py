"""Files laid out for NIM's containers: its cache, and its model store."""

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath

from nimctl.core.errors import NotFoundError, UsageError
from nimctl.core.facts import Artifact
from nimctl.core.layout import Layout
from nimctl.core.nim_workspace import CachedModel, blob_name
from nimctl.store.blobs import BlobStore
from nimctl.store.locks import held
from nimctl.store.placing import place, point, write

_MARK = ".nimctl-profile"


class NimCache:
    """Lays out what the blob store has; several processes may do so at once."""

    def __init__(self, layout: Layout, blobs: BlobStore) -> None:
        self._layout = layout
        self._blobs = blobs

    def fill(self, directory: Path, model: CachedModel, artifact: Artifact) -> None:
        """Have an artifact's files in the cache at `directory`.

        `blobs` come first and `refs` last: what is named there is whole.

        Raises:
            NotFoundError: A file is not in the store.
            DiskFullError: There is no room for copies.
            UsageError: This user may not write there.
        """
        root = directory / model.path
        snapshot = root / "snapshots" / model.snapshot
        with self._lock(root):
            for file in artifact.files:
                name = blob_name(model, file).name
                if not file.sha256:
                    raise _not_fetched(artifact.reference)
                place(self._blobs.path(file.sha256), file.sha256, root / "blobs" / name)
                up = "../" * (len(PurePosixPath(model.snapshot, file.path).parts))
                point(snapshot / file.path, f"{up}blobs/{name}")
            write(root / "refs" / model.revision, model.snapshot)

    def fill_store(self, directory: Path, profile: str, files: Mapping[str, str]) -> None:
        """Have a profile's files in `directory`: path to sha256.

        Raises:
            NotFoundError: A file is not in the store.
            DiskFullError: There is no room for copies.
            UsageError: Something else lies there, or this user may not write there.
        """
        with self._lock(directory):
            mark = directory / _MARK
            if not mark.is_file() and directory.is_dir() and any(directory.iterdir()):
                raise UsageError(
                    f"{directory} is not empty",
                    cause="a server would take whatever lies there for the model's",
                    hint="choose a directory that is not there yet",
                )
            if mark.is_file() and mark.read_text() != profile:
                raise UsageError(
                    f"{directory} has the files of profile {mark.read_text()[:80]}",
                    hint=f"rm -r {directory}, or choose another directory",
                )
            write(mark, profile)
            for path, sha256 in files.items():
                place(self._blobs.path(sha256), sha256, directory / path)

    def _lock(self, directory: Path) -> AbstractContextManager[None]:
        name = hashlib.sha256(str(directory.absolute()).encode()).hexdigest()[:32]
        return held(self._layout.lock(f"nim-{name}"))


def _not_fetched(reference: str) -> NotFoundError:
    return NotFoundError(f"{reference} was not fetched whole", hint="run the command again")
