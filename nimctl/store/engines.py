"""Engines by their key: built once, visible when whole."""

import hashlib
import secrets
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from nimctl import documents
from nimctl.core.engine import Engine, EngineFile, EngineRecipe
from nimctl.core.errors import BuildError
from nimctl.core.facts import Artifact
from nimctl.core.layout import Layout
from nimctl.store.locks import held

MANIFEST = "engine.json"


class EngineStore:
    """The directory of engines."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def find(self, key: str) -> Engine | None:
        """The engine with this key."""
        return documents.read(self._layout.engine(key) / MANIFEST, Engine)

    def path(self, key: str) -> Path:
        """The directory of an engine."""
        return self._layout.engine(key)

    def all(self) -> Iterator[Engine]:
        """Every engine, in no order."""
        for path in (self._layout.root / "engines").glob(f"[!.]*/{MANIFEST}"):
            engine = documents.read(path, Engine)
            if engine is not None:
                yield engine

    def remove(self, key: str) -> None:
        """Remove an engine."""
        shutil.rmtree(self._layout.engine(key))

    def obtain(
        self, artifact: Artifact, recipe: EngineRecipe, build: Callable[[Path], None]
    ) -> tuple[Engine, bool]:
        """Return the engine for an artifact and whether `build` had to make it.

        `build` fills the directory that it is given. Of several processes one builds, the others
        wait. A failed build leaves nothing behind.
        """
        digest = artifact.digest
        if digest is None:
            raise BuildError(f"{artifact.reference} was not fetched whole")
        key = recipe.key(digest)
        if engine := self.find(key):
            return engine, False
        with held(self._layout.lock(f"engine-{key}")):
            if engine := self.find(key):
                return engine, False
            return self._publish(key, digest, artifact, recipe, build), True

    def _publish(
        self,
        key: str,
        digest: str,
        artifact: Artifact,
        recipe: EngineRecipe,
        build: Callable[[Path], None],
    ) -> Engine:
        final = self._layout.engine(key)
        staged = final.with_name(f".{key}.{secrets.token_hex(4)}")
        staged.mkdir(parents=True)
        try:
            build(staged)
            engine = Engine(
                key=key,
                model_digest=digest,
                reference=artifact.reference,
                recipe=recipe,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                files=tuple(_described(staged)),
            )
            documents.write(staged / MANIFEST, engine)
            staged.rename(final)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return engine


def _described(directory: Path) -> Iterator[EngineFile]:
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        path.chmod(0o444)
        yield EngineFile(
            path=path.relative_to(directory).as_posix(), size=path.stat().st_size, sha256=sha256
        )
