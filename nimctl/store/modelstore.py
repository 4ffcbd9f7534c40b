"""The model store: directories of hard links that a server reads."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from nimctl import documents
from nimctl.core.engine import SIDECAR, Engine
from nimctl.core.errors import NotFoundError
from nimctl.core.facts import Artifact
from nimctl.core.layout import Layout
from nimctl.store.blobs import BlobStore
from nimctl.store.locks import held

_MARK = ".nimctl-artifact"


class ModelStore:
    """Lays out artifacts and engines for servers."""

    def __init__(self, layout: Layout, blobs: BlobStore) -> None:
        self._layout = layout
        self._blobs = blobs

    def assemble(self, artifact: Artifact, directory: Path) -> bool:
        """Link an artifact's files into `directory`; False when they lie there already.

        A directory of another artifact is replaced, together with the engine in it.
        """
        digest = artifact.digest
        if digest is None:
            raise NotFoundError(
                f"{artifact.reference} was not fetched whole",
                hint=f"nimctl pull '{artifact.reference}'",
            )
        blobs = {file.path: self._blobs.path(file.sha256 or "") for file in artifact.files}
        mark = directory / _MARK
        with self._lock(directory):
            empty = [directory / path for path in artifact.directories]
            is_whole = _are_linked(blobs, directory) and all(path.is_dir() for path in empty)
            if mark.is_file() and mark.read_text() == digest and is_whole:
                return False
            staged = _linked(directory, blobs)
            for path in artifact.directories:
                (staged / path).mkdir(parents=True, exist_ok=True)
            (staged / _MARK).write_text(digest)
            _replace(staged, directory)
            return True

    def attach(self, engine: Path, directory: Path) -> bool:
        """Link an engine's files into `directory`; False when they lie there already."""
        found = (path for path in engine.rglob("*") if path.is_file())
        files = {path.relative_to(engine).as_posix(): path for path in found}
        with self._lock(directory):
            if _are_linked(files, directory):
                return False
            _replace(_linked(directory, files), directory)
            return True

    def attached(self, directory: Path) -> Iterator[str]:
        """The keys of the engines that lie in a model's directory."""
        for sidecar in directory.glob(f"*/{SIDECAR}"):
            engine = documents.read(sidecar, Engine)
            if engine is not None:
                yield engine.key

    def detach(self, engine: Path) -> None:
        """Remove the links to an engine from every model's directory."""
        for sidecar in self._layout.root.glob(f"model-store/*/*/*/{SIDECAR}"):
            # By its key: a sidecar is written anew when there is more to say of its engine.
            if engine.name in self.attached(sidecar.parent.parent):
                with self._lock(sidecar.parent):
                    shutil.rmtree(sidecar.parent)

    def remove(self, model: str) -> bool:
        """Remove a model's directories; False when there are none."""
        directory = self._layout.model(model, ".").resolve()
        if not directory.is_dir():
            return False
        shutil.rmtree(directory)
        return True

    def _lock(self, directory: Path) -> AbstractContextManager[None]:
        name = hashlib.sha256(str(directory).encode()).hexdigest()[:32]
        return held(self._layout.lock(f"model-{name}"))


def _linked(directory: Path, files: Mapping[str, Path]) -> Path:
    staged = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
    try:
        staged.mkdir(parents=True)
        for name, source in files.items():
            target = staged / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source, target)
            except FileNotFoundError as error:
                raise NotFoundError(
                    f"{name} is not in the store any more", hint="run the command again"
                ) from error
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    return staged


def _replace(staged: Path, directory: Path) -> None:
    # rename() replaces only an empty directory, so a full one is first moved out of the way.
    old = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}.old")
    try:
        directory.rename(old)
    except FileNotFoundError:
        staged.rename(directory)
        return
    staged.rename(directory)
    shutil.rmtree(old)


def _are_linked(files: Mapping[str, Path], directory: Path) -> bool:
    # A repaired blob is a new file: what is linked to the damaged one has to go.
    try:
        return all((directory / name).samefile(source) for name, source in files.items())
    except FileNotFoundError:
        return False
