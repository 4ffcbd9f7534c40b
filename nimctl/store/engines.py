"""Engines by their key: built once, visible when whole, removed when their room is needed."""

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from nimctl import documents
from nimctl.core.engine import SIDECAR, Engine, EngineFile, EngineRecipe, WarmedUp
from nimctl.core.errors import BuildError, NotFoundError, UsageError, VerificationError
from nimctl.core.facts import Artifact
from nimctl.core.layout import Layout
from nimctl.core.trtllm.job import WORK
from nimctl.store.locks import held, try_lock

_SHORTEST_KEY = 6
_KEY = re.compile(r"[0-9a-f]{64}")
# Stands for the key while that is not known.
_IMPORT = "import"


class EngineStore:
    """The directory of engines."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def find(self, key: str) -> Engine | None:
        """The engine with this key."""
        return documents.read(self._layout.engine(key) / SIDECAR, Engine)

    def named(self, name: str) -> Engine:
        """The engine whose key begins so.

        Raises:
            NotFoundError: There is none.
            UsageError: There are several, or the name is too short to mean one.
        """
        if len(name) < _SHORTEST_KEY:
            raise UsageError(f"`{name}` is too short for an engine's key", hint="nimctl engines")
        found = [engine for engine in self.all() if engine.key.startswith(name)]
        if not found:
            raise NotFoundError(f"there is no engine {name}", hint="nimctl engines")
        if len(found) > 1:
            raise UsageError(
                f"{name} means {len(found)} engines",
                cause=", ".join(engine.key[:16] for engine in found),
                hint="give more of the key",
            )
        return found[0]

    def path(self, key: str) -> Path:
        """The directory of an engine."""
        return self._layout.engine(key)

    def all(self) -> Iterator[Engine]:
        """Every engine, in no order."""
        for path in (self._layout.root / "engines").glob(f"[!.]*/{SIDECAR}"):
            engine = documents.read(path, Engine)
            # A directory that was copied or renamed by hand is nobody's engine.
            if engine is not None and engine.key == path.parent.name:
                yield engine

    def touch(self, key: str) -> None:
        """Note that an engine is used now."""
        os.utime(self._layout.engine(key))

    def last_used(self, key: str) -> datetime:
        """When an engine was used last, or made; long ago for one that was removed meanwhile."""
        try:
            used = self._layout.engine(key).stat().st_mtime
        except FileNotFoundError:
            used = 0.0
        return datetime.fromtimestamp(used, UTC)

    def remove(self, key: str) -> None:
        """Remove an engine and the log of its build; absent is well."""
        self._discard(key)
        self._layout.build_log(key).unlink(missing_ok=True)

    def obtain(
        self,
        artifact: Artifact,
        recipe: EngineRecipe,
        build: Callable[[Path], str | None],
        *,
        on_wait: Callable[[], None] | None = None,
    ) -> tuple[Engine, bool]:
        """Return the engine for an artifact and whether `build` had to make it.

        `build` fills the directory that it is given and says which image it used, if any. Of
        several processes one builds, the others wait, after a call of `on_wait`. A failed build
        leaves nothing behind.
        """
        digest = artifact.digest
        if digest is None:
            raise BuildError(f"{artifact.reference} was not fetched whole")
        key = recipe.key(digest)
        if engine := self._used(key):
            return engine, False
        with held(self._layout.lock(f"engine-{key}"), on_wait=on_wait):
            if engine := self._used(key):
                return engine, False
            self._sweep(key)
            with self._staged(key) as staged:
                image = build(staged)
                engine = Engine(
                    key=key,
                    model_digest=digest,
                    reference=artifact.reference,
                    recipe=recipe,
                    created=datetime.now(UTC).isoformat(timespec="seconds"),
                    files=tuple(described(staged)),
                    image=image,
                )
                self._publish(engine, staged)
            return engine, True

    def take_in(self, fill: Callable[[Path], Iterable[EngineFile]]) -> tuple[Engine, bool]:
        """Keep an engine that was built elsewhere; whether it was not here already.

        `fill` writes its files and the sidecar into the directory that it is given, and says what
        it wrote, so that both can be compared.

        Raises:
            VerificationError: There is no sidecar, its key is not what it says the engine depends
                on, or a file is not what it says.
        """
        with held(self._layout.lock(f"engine-{_IMPORT}")):
            self._sweep(_IMPORT)
            with self._staged(_IMPORT) as staged:
                files = tuple(fill(staged))
                engine = _sidecar_of(staged)
                check_sidecar(engine)
                check_files(engine, (one for one in files if one.path != SIDECAR))
                with held(self._layout.lock(f"engine-{engine.key}")):
                    if self.find(engine.key):
                        return engine, False
                    # What was warm elsewhere is not warm here.
                    engine = msgspec.structs.replace(engine, warm_up=None)
                    self._publish(engine, staged)
                return engine, True

    def note_warm_up(self, engine: Engine, found: WarmedUp) -> Engine:
        """Write into the sidecar what came of a warm-up."""
        noted = msgspec.structs.replace(engine, warm_up=found)
        with held(self._layout.lock(f"engine-{engine.key}")):
            if self.find(engine.key) not in (None, noted):
                documents.write(self._layout.engine(engine.key) / SIDECAR, noted)
        return noted

    def is_idle(self, key: str) -> bool:
        """Whether nobody builds it."""
        lock = try_lock(self._layout.lock(f"engine-{key}"))
        if lock is None:
            return False
        lock.release()
        return True

    def clear_leftovers(self) -> None:
        """Remove what builds that were killed have left; those that run are not touched.

        A directory whose sidecar was removed goes too: no engine is found in it any more.
        """
        for path in (self._layout.root / "engines").glob("*"):
            key = path.name.split(".")[1] if path.name.startswith(".") else path.name
            if not _is_leftover(path):
                continue
            lock = try_lock(self._layout.lock(f"engine-{key}"))
            if lock is not None:
                try:
                    # Whoever had the lock may have published it meanwhile.
                    if _is_leftover(path):
                        shutil.rmtree(path, ignore_errors=True)
                finally:
                    lock.release()

    def _used(self, key: str) -> Engine | None:
        engine = self.find(key)
        if engine is not None:
            self.touch(key)
        return engine

    def _sweep(self, key: str) -> None:
        # The lock is held, so these are of processes that are gone.
        for path in (self._layout.root / "engines").glob(f".{key}.*"):
            # Into one of a build a container may write until that is removed.
            shutil.rmtree(path, ignore_errors=True)

    def _discard(self, key: str) -> None:
        directory = self._layout.engine(key)
        # Out of sight first: what is half removed must not be found.
        gone = directory.with_name(f".{key}.{secrets.token_hex(4)}")
        with suppress(FileNotFoundError):
            directory.rename(gone)
            shutil.rmtree(gone)

    def _staged(self, key: str) -> "_Staged":
        return _Staged(self._layout.engine(key).with_name(f".{key}.{secrets.token_hex(4)}"))

    def _publish(self, engine: Engine, staged: Path) -> None:
        for file in engine.files:
            (staged / file.path).chmod(0o444)
        documents.write(staged / SIDECAR, engine)
        # What is there has no sidecar, or it would have been found.
        self._discard(engine.key)
        staged.rename(self._layout.engine(engine.key))


class _Staged:
    """A directory that is removed when it was not renamed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Path:
        self._path.mkdir(parents=True)
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


def _is_leftover(path: Path) -> bool:
    if path.name.startswith("."):
        return path.is_dir()
    return _KEY.fullmatch(path.name) is not None and not (path / SIDECAR).exists()


def described(directory: Path) -> Iterator[EngineFile]:
    """Each file of an engine's directory, with size and digest."""
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        relative = path.relative_to(directory)
        if relative.parts[0] in (WORK, SIDECAR):
            continue
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        yield EngineFile(path=relative.as_posix(), size=path.stat().st_size, sha256=sha256)


def _sidecar_of(staged: Path) -> Engine:
    what = "this is no engine of nimctl's"
    try:
        engine = documents.read(staged / SIDECAR, Engine)
    except VerificationError as error:
        # What was staged goes with the refusal: neither its path nor its removal helps anybody.
        raise VerificationError(what, cause=f"its {SIDECAR} is damaged: {error.cause}") from error
    if engine is None:
        raise VerificationError(
            what, cause=f"it has no {SIDECAR}, which says what the engine depends on"
        )
    return engine


def check_sidecar(engine: Engine) -> None:
    """Refuse a sidecar whose key does not follow from the rest of it.

    Raises:
        VerificationError: It does not.
    """
    if engine.recipe.key(engine.model_digest) != engine.key:
        raise VerificationError(
            f"the sidecar of engine {engine.key[:12]} was altered",
            cause="its key does not follow from what it says the engine depends on",
        )


def check_files(engine: Engine, found: Iterable[EngineFile]) -> None:
    """Compare files with what a sidecar says of them.

    Raises:
        VerificationError: One is missing, damaged, or too many.
    """
    expected = {file.path: file for file in engine.files}
    there = {file.path: file for file in found}
    for path in sorted({*expected, *there}):
        if path not in there:
            raise VerificationError(f"{path} of engine {engine.key[:12]} is missing")
        if path not in expected:
            raise VerificationError(f"{path} is not of engine {engine.key[:12]}")
        if there[path] != expected[path]:
            raise VerificationError(
                f"{path} of engine {engine.key[:12]} is damaged",
                cause=f"sha256 is {there[path].sha256}, not {expected[path].sha256}",
                hint="copy it again",
            )
