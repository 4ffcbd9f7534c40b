"""Pushing what the store holds to an OCI registry."""

from collections.abc import Sequence

from nimctl import stored
from nimctl.core.containers import LABEL_PREFIX
from nimctl.core.engine import SIDECAR, Engine, chosen
from nimctl.core.errors import NotFoundError, UsageError
from nimctl.core.events import Emit
from nimctl.core.facts import Artifact
from nimctl.core.refs import ModelRef
from nimctl.core.reports import PushReport
from nimctl.registries.oci import OciPublisher
from nimctl.registries.oci.modelpack import ModelDescription, ModelFile, weights_format
from nimctl.tools import Tools

_ENGINE_NOTE = f"{LABEL_PREFIX}engine."
_ENGINE_FORMATS = {"llama_cpp": "gguf"}


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
    files = _model_files(artifact, tools)
    description = ModelDescription(
        name=ref.short_name,
        revision=artifact.revision,
        source_url=artifact.reference,
        format=weights_format(file.path for file in files),
    )
    digest = _publisher(target, tools).push(files, target, description, emit)
    return _report(target, digest, files)


def push_engine(
    ref: ModelRef, which: str, target: ModelRef, tools: Tools, emit: Emit
) -> PushReport:
    """Push a built engine, with the sidecar that says what it depends on.

    `which` is its precision, or the beginning of its key.

    Raises:
        NotFoundError: It was not built.
        UsageError: The target is no OCI reference, or several engines are meant.
    """
    engine = chosen(stored.inspect_model(ref, tools).engines, which, str(ref))
    return push_stored_engine(engine, target, tools, emit, name=ref.short_name)


def push_stored_engine(
    engine: Engine, target: ModelRef, tools: Tools, emit: Emit, *, name: str | None = None
) -> PushReport:
    """Push an engine of the store under a name, its model's own unless one is given.

    Raises:
        UsageError: The target is no OCI reference.
    """
    recipe = engine.recipe
    description = ModelDescription(
        name=name or ModelRef.parse(engine.reference).short_name,
        source_url=engine.reference,
        format=_ENGINE_FORMATS.get(recipe.backend, recipe.backend),
        quantization=recipe.precision,
    )
    files = _engine_files(engine, tools)
    facts = {
        "key": engine.key,
        "builder": recipe.builder,
        "gpu": recipe.gpu,
        "compute-capability": recipe.compute_capability,
    }
    notes = {f"{_ENGINE_NOTE}{name}": value for name, value in facts.items() if value}
    digest = _publisher(target, tools).push(files, target, description, emit, annotations=notes)
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
