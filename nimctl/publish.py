"""Pushing what the store holds to an OCI registry."""

from collections.abc import Sequence

from nimctl import stored
from nimctl.core.engine import SIDECAR, Engine
from nimctl.core.errors import NotFoundError, UsageError
from nimctl.core.events import Emit
from nimctl.core.facts import Artifact
from nimctl.core.refs import ModelRef
from nimctl.core.reports import PushReport
from nimctl.registries.oci import OciPublisher
from nimctl.registries.oci.modelpack import ModelDescription, ModelFile
from nimctl.tools import Tools

_ENGINE_KEY = "org.nimctl.engine.key"


def push_model(ref: ModelRef, target: ModelRef, tools: Tools, emit: Emit) -> PushReport:
    """Push a pulled model.

    Raises:
        NotFoundError: The store has nothing of it, or not all.
        UsageError: The target is no OCI reference, or the model has several sources.
    """
    artifacts = stored.artifacts_of(ref, tools)
    if len(artifacts) > 1:
        raise UsageError(
            f"the store has {len(artifacts)} sources of {ref}",
            cause="they are " + ", ".join(artifact.reference for artifact in artifacts),
            hint="name one of them instead",
        )
    artifact = artifacts[0]
    description = ModelDescription(
        name=ref.short_name, revision=artifact.revision, source_url=artifact.reference
    )
    files = _model_files(artifact, tools)
    digest = _publisher(target, tools).push(files, target, description, emit)
    return _report(target, digest, files)


def push_engine(
    ref: ModelRef, precision: str, target: ModelRef, tools: Tools, emit: Emit
) -> PushReport:
    """Push a built engine with the sidecar that says what it depends on.

    Raises:
        NotFoundError: It was not built.
        UsageError: The target is no OCI reference.
    """
    engines = stored.inspect_model(ref, tools).engines
    engine = next((one for one in engines if one.recipe.precision == precision), None)
    if engine is None:
        raise NotFoundError(
            f"there is no {precision} engine of {ref} in the store",
            hint=f"nimctl build-engine {ref} --precision {precision}",
        )
    description = ModelDescription(
        name=ref.short_name, source_url=engine.reference, format="gguf", quantization=precision
    )
    files = _engine_files(engine, tools)
    keyed = {_ENGINE_KEY: engine.key}
    digest = _publisher(target, tools).push(files, target, description, emit, annotations=keyed)
    return _report(target, digest, files)


def _publisher(target: ModelRef, tools: Tools) -> OciPublisher:
    if target.scheme != "oci":
        raise UsageError(f"{target} is no OCI registry", hint="oci://HOST/REPOSITORY:TAG")
    return tools.registries.publisher


def _report(target: ModelRef, digest: str, files: Sequence[ModelFile]) -> PushReport:
    return PushReport(
        reference=str(target),
        digest=digest,
        files=tuple(file.path for file in files),
        size_bytes=sum(file.size for file in files),
    )


def _model_files(artifact: Artifact, tools: Tools) -> list[ModelFile]:
    files = []
    for file in artifact.files:
        sha256 = file.sha256 or ""
        source = tools.blobs.path(sha256)
        if not tools.blobs.has(sha256):
            hint = f"nimctl verify '{artifact.reference}' --repair"
            raise NotFoundError(f"{file.path} is missing in the store", hint=hint)
        files.append(ModelFile(file.path, source, sha256, source.stat().st_size))
    return files


def _engine_files(engine: Engine, tools: Tools) -> list[ModelFile]:
    directory = tools.engines.path(engine.key)
    files = [
        ModelFile(file.path, directory / file.path, file.sha256, file.size) for file in engine.files
    ]
    sidecar = directory / SIDECAR
    sha256 = stored.sha256_of(sidecar)
    return [*files, ModelFile(SIDECAR, sidecar, sha256, sidecar.stat().st_size)]
