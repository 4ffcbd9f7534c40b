"""The engines in the store: listed, moved between machines, removed when their room is needed."""

from collections.abc import Iterable
from pathlib import Path

from nimctl import engine_room, fetching, publish, stored
from nimctl.core.engine import SIDECAR, Engine, EngineFile
from nimctl.core.errors import NotFoundError, UsageError, VerificationError
from nimctl.core.events import Emit
from nimctl.core.facts import File
from nimctl.core.refs import ModelRef
from nimctl.core.reports import (
    EngineList,
    EnginesRemoved,
    ExportReport,
    ImportReport,
    ListedEngine,
    PushReport,
)
from nimctl.core.trtllm.prebuilt import engine_directories
from nimctl.store import engine_files
from nimctl.tools import Tools


def list_engines(tools: Tools) -> EngineList:
    """Every engine, the one that was used last first."""
    users = engine_room.users_of_engines(tools)
    listed = [_listed(engine, users, tools) for engine in tools.engines.all()]
    return EngineList(
        home=tools.settings.home,
        engines=tuple(sorted(listed, key=lambda one: one.last_used, reverse=True)),
    )


def remove_engines(names: Iterable[str], tools: Tools) -> EnginesRemoved:
    """Remove engines, and where they are linked to.

    Raises:
        NotFoundError: There is no such engine.
        UsageError: A server runs it, or the name means several.
    """
    # Two names may mean the same.
    chosen = {one.key: one for one in (tools.engines.named(name) for name in names)}.values()
    users = engine_room.users_of_engines(tools)
    for engine in chosen:
        if engine.key in users:
            raise UsageError(
                f"the engine {engine.key[:12]} is being served by {', '.join(users[engine.key])}",
                hint=f"nimctl stop {' '.join(users[engine.key])}",
            )
    return engine_room.remove_engines(chosen, tools)


def export_tar(name: str, target: Path, tools: Tools, emit: Emit) -> ExportReport:
    """Write an engine to a tar file, which `import_engine` takes on another machine."""
    engine = tools.engines.named(name)
    written = engine_files.write_tar(engine, tools.engines.path(engine.key), target, emit)
    return ExportReport(key=engine.key, target=str(target.resolve()), size_bytes=written)


def export_oci(name: str, target: ModelRef, tools: Tools, emit: Emit) -> PushReport:
    """Push an engine to an OCI registry, which `import_engine` takes on another machine."""
    return publish.push_stored_engine(tools.engines.named(name), target, tools, emit)


def import_engine(source: str, tools: Tools, emit: Emit) -> ImportReport:
    """Take in an engine from a tar file, a registry or a directory of files.

    Raises:
        VerificationError: It is not what its sidecar says.
    """
    if "://" in source:
        engine, is_new = _from_registry(ModelRef.parse(source), tools, emit)
    else:
        archive = Path(source)
        engine, is_new = tools.engines.take_in(
            lambda staged: engine_files.unpack(archive, staged, emit)
        )
    return ImportReport(
        engine=engine, imported=is_new, directory=str(tools.layout.engine(engine.key))
    )


def _from_registry(ref: ModelRef, tools: Tools, emit: Emit) -> tuple[Engine, bool]:
    registry = tools.registries.find(ref.scheme)
    artifact = registry.resolve(ref)
    if not any(file.path == SIDECAR for file in artifact.files):
        raise VerificationError(
            f"{ref} is no engine of nimctl's",
            cause=f"it has no {SIDECAR}, which says what the engine depends on",
            hint=f"nimctl build-engine '{ref}' takes an engine that others built"
            if engine_directories(artifact)
            else f"nimctl pull '{ref}' takes it as a model",
        )
    with fetching.alone(ref, artifact.files, tools, emit):
        fetched = tools.transfer.fetch(artifact.files, registry.locate, emit, name=ref.digest)
        known = [EngineFile(path=one.path, size=one.size, sha256=one.sha256) for one in fetched]
        blobs = {file: tools.blobs.path(file.sha256) for file in known}
        taken = tools.engines.take_in(lambda staged: engine_files.link(blobs, staged))
        tools.unfinished.forget(ref.digest)
    _forget(artifact.files, tools)
    return taken


def _forget(files: Iterable[File], tools: Tools) -> None:
    """The engine has them now; as blobs no model refers to them."""
    with tools.unfinished.removing():
        used = stored.pinned_blobs(tools) | tools.unfinished.needed()
        for file in files:
            sha256 = file.sha256
            if sha256 and sha256 not in used and tools.blobs.has(sha256):
                tools.blobs.remove(sha256)


def build_log(name: str, tools: Tools) -> Path:
    """The log of an engine's build, also of one that failed.

    Raises:
        NotFoundError: There is none.
    """
    logs = sorted(tools.layout.build_log("x").parent.glob(f"{name}*.log"))
    if not name.isalnum() or not logs:
        raise NotFoundError(f"there is no log of a build {name}", hint="nimctl engines")
    return logs[-1]


def _listed(engine: Engine, users: dict[str, list[str]], tools: Tools) -> ListedEngine:
    return ListedEngine(
        engine=engine,
        size_bytes=engine.size,
        directory=str(tools.layout.engine(engine.key)),
        last_used=tools.engines.last_used(engine.key).isoformat(timespec="seconds"),
        servers=tuple(users.get(engine.key, ())),
    )
