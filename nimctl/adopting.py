"""Act: an engine that was built elsewhere, from files that were fetched into the engines' store."""

from datetime import UTC, datetime
from pathlib import Path

from nimctl import documents
from nimctl.core.engine import SIDECAR, Engine, EngineFile
from nimctl.core.errors import BuildError
from nimctl.core.facts import Artifact
from nimctl.core.plan import Adopt
from nimctl.store import engine_files
from nimctl.tools import Tools


def adopt(step: Adopt, artifact: Artifact | None, tools: Tools) -> Engine:
    """Link the files, which were verified when they came, and write the sidecar.

    Raises:
        BuildError: The artifact was not fetched whole.
        VerificationError: The files are not those that the engine's own sidecar tells of.
    """
    if step.key and (there := tools.engines.find(step.key)):
        tools.engines.touch(there.key)
        return there
    if artifact is None or artifact.digest is None:
        raise BuildError(f"{step.reference} was not fetched whole")
    files = _files(step, artifact)
    engine = step.sidecar or _described(step, artifact, tuple(files))
    blobs = {file: tools.blobs.path(file.sha256) for file in files}

    def fill(staged: Path) -> list[EngineFile]:
        linked = list(engine_files.link(blobs, staged))
        documents.write(staged / SIDECAR, engine)
        return linked

    taken, _ = tools.engines.take_in(fill)
    return taken


def _files(step: Adopt, artifact: Artifact) -> list[EngineFile]:
    fetched = {file.path: file for file in artifact.files}
    return [
        EngineFile(path=path, size=fetched[name].size or 0, sha256=fetched[name].sha256 or "")
        for path, name in sorted(step.files.items())
    ]


def _described(step: Adopt, artifact: Artifact, files: tuple[EngineFile, ...]) -> Engine:
    digest = artifact.digest or ""
    return Engine(
        key=step.recipe.key(digest),
        model_digest=digest,
        reference=step.reference,
        recipe=step.recipe,
        # When it was built is written nowhere.
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        files=files,
    )
