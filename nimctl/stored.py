"""What the store holds of each model: listed, described, removed."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from nimctl.core.engine import Engine
from nimctl.core.errors import NotFoundError, UsageError
from nimctl.core.facts import Artifact
from nimctl.core.refs import ModelRef
from nimctl.core.reports import ModelReport, Removed, StoredModel, StoredModels, StoredSource
from nimctl.tools import Tools


def list_models(tools: Tools) -> StoredModels:
    """Every model of which the store has files."""
    sources = _sources_by_model(tools)
    engines = list(tools.engines.all())
    models = [_describe(name, artifacts, engines, tools) for name, artifacts in sources.items()]
    return StoredModels(
        home=tools.settings.home, models=tuple(sorted(models, key=lambda model: model.model))
    )


def inspect_model(ref: ModelRef, tools: Tools) -> ModelReport:
    """A model's artifacts and engines.

    Raises:
        NotFoundError: The store has nothing of it.
    """
    artifacts = artifacts_of(ref, tools)
    references = {artifact.reference for artifact in artifacts}
    return ModelReport(
        model=str(ref),
        artifacts=tuple(artifacts),
        engines=tuple(one for one in tools.engines.all() if one.reference in references),
    )


def remove_model(ref: ModelRef, tools: Tools) -> Removed:
    """Remove a model's files, engines and stopped servers; blobs that others use stay.

    Raises:
        NotFoundError: The store has nothing of it.
        UsageError: A server runs it.
    """
    report = inspect_model(ref, tools)
    servers = [one for one in tools.servers.all() if one.reference == str(ref)]
    running = [one.name for one in servers if one.state != "exited"]
    if running:
        raise UsageError(
            f"{ref} is being served by {', '.join(running)}",
            hint=f"nimctl stop {' '.join(running)}",
        )
    for name in tools.groups.outermost([server.name for server in servers]):
        tools.groups.remove(name)
    tools.models.remove(ref.directory_name)
    freed = sum(file.size for engine in report.engines for file in engine.files)
    for engine in report.engines:
        tools.engines.remove(engine.key)
    for artifact in report.artifacts:
        source = ModelRef.parse(artifact.reference)
        tools.artifacts.unpin(source)
        tools.unfinished.give_up(source.digest)
    return Removed(
        model=str(ref),
        servers=tuple(server.name for server in servers),
        engines=tuple(engine.key for engine in report.engines),
        bytes_freed=freed + _remove_orphans(report.artifacts, tools),
    )


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove_orphans(gone: tuple[Artifact, ...], tools: Tools) -> int:
    with tools.unfinished.removing():
        used = pinned_blobs(tools) | tools.unfinished.needed()
        orphans = {
            file.sha256: file.size or 0
            for artifact in gone
            for file in artifact.files
            if file.sha256 and file.sha256 not in used and tools.blobs.has(file.sha256)
        }
        for sha256 in orphans:
            tools.blobs.remove(sha256)
    return sum(orphans.values())


def pinned_blobs(tools: Tools) -> frozenset[str]:
    """The sha256 of every file of a stored model."""
    files = (file for artifact in tools.artifacts.all() for file in artifact.files)
    return frozenset(file.sha256 for file in files if file.sha256)


def artifacts_of(ref: ModelRef, tools: Tools) -> list[Artifact]:
    """The pinned artifacts of a model.

    Raises:
        NotFoundError: The store has nothing of it.
    """
    if ref.scheme == "catalogue":
        if ref.path not in tools.catalog.names():
            raise NotFoundError(
                f"there is no model `{ref}`, in the store or in the catalogue",
                hint="nimctl list shows the models, nimctl ps --all the servers",
            )
        sources = tools.catalog.find(ref.path).sources
    else:
        sources = frozenset({str(ref)})
    pinned = [tools.artifacts.pinned(ModelRef.parse(source)) for source in sorted(sources)]
    found = [artifact for artifact in pinned if artifact is not None]
    if not found:
        raise NotFoundError(
            f"{ref} is not in the store", hint=f"nimctl pull '{ref}', or nimctl list"
        )
    return found


def _sources_by_model(tools: Tools) -> dict[str, list[Artifact]]:
    names = {
        profile.source: model.name for model in tools.catalog.all() for profile in model.profiles
    }
    found: dict[str, list[Artifact]] = {}
    for artifact in tools.artifacts.all():
        reference = artifact.reference
        found.setdefault(names.get(reference, reference), []).append(artifact)
    return found


def _describe(
    name: str, artifacts: list[Artifact], engines: list[Engine], tools: Tools
) -> StoredModel:
    references = {artifact.reference for artifact in artifacts}
    own = [engine for engine in engines if engine.reference in references]
    engine_bytes = sum(file.size for engine in own for file in engine.files)
    return StoredModel(
        model=name,
        sources=tuple(_stored(artifacts, tools)),
        engines=tuple(own),
        size_bytes=engine_bytes + sum(artifact.size or 0 for artifact in artifacts),
    )


def _stored(artifacts: list[Artifact], tools: Tools) -> Iterator[StoredSource]:
    for artifact in sorted(artifacts, key=lambda one: one.reference):
        path = tools.layout.artifact(ModelRef.parse(artifact.reference))
        pulled = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        yield StoredSource(
            reference=artifact.reference,
            revision=artifact.revision,
            size=artifact.size or 0,
            files=len(artifact.files),
            complete=tools.blobs.has_all(artifact.files),
            pulled=pulled.isoformat(timespec="seconds"),
        )
