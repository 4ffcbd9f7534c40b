"""Observations: engines of TensorRT-LLM among the files of artifacts, pulled or not."""

from collections.abc import Iterator

import msgspec

from nimctl import json_files
from nimctl.core.decide import Target
from nimctl.core.engine import SIDECAR, Engine
from nimctl.core.errors import NimctlError, NotFoundError, UsageError, VerificationError
from nimctl.core.facts import Artifact
from nimctl.core.profile import Profile
from nimctl.core.refs import ModelRef
from nimctl.core.trtllm.prebuilt import (
    FoundEngine,
    agreed,
    config_paths,
    engine_directory_in,
    found_engine,
    is_prebuilt,
    tokenizer_directory,
)
from nimctl.registry_tools import LOCAL_SCHEMES
from nimctl.store.engines import check_sidecar
from nimctl.tools import Tools

# A tokenizer without the weights beside it.
_SMALL_FILES = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")


def engine_in(artifact: Artifact, tools: Tools) -> FoundEngine | None:
    """The engine that an artifact holds, of which small files are read; None when it holds none.

    What a user has said of it is remembered by the store of engines.

    Raises:
        VerificationError: It is not whole, contradicts itself, or its sidecar was altered.
    """
    directory = engine_directory_in(artifact)
    if directory is None:
        return None
    configs = (json_files.read_object(one, artifact, tools) for one in config_paths(directory))
    config = next((one for one in configs if one), {})
    data = json_files.read_bytes(f"{directory}{SIDECAR}", artifact, tools)
    sidecar = _sidecar(data, artifact) if data is not None else None
    found = found_engine(artifact, directory, config, sidecar)
    if sidecar is not None or artifact.digest is None:
        return found
    adopted = (one for one in tools.engines.all() if one.model_digest == artifact.digest)
    stored = next(adopted, None)
    return msgspec.structs.replace(found, recipe=stored.recipe) if stored else found


def engine_of(profile: Profile, artifact: Artifact, tools: Tools) -> FoundEngine | None:
    """The engine that a profile's files are; None for a profile that needs a build, or none.

    Raises:
        VerificationError: They hold none, or another than the profile says.
    """
    if not is_prebuilt(profile):
        return None
    found = engine_in(artifact, tools)
    if found is None:
        raise VerificationError(
            f"{artifact.reference} has no engine, which the profile {profile.name} says it has",
            hint="`build: true` in the catalogue's file builds one of a checkpoint",
        )
    return agreed(found, profile)


def pulled_engines(tools: Tools) -> Iterator[FoundEngine]:
    """The engines in artifacts that the store has whole; those that are damaged are passed over."""
    for artifact in tools.artifacts.all():
        try:
            if engine_directory_in(artifact) is None or not tools.blobs.has_all(artifact.files):
                continue
            found = engine_in(artifact, tools)
        except NimctlError:
            continue  # who asks for this very one is told
        if found is not None:
            yield found


def with_tokenizer(target: Target, found: FoundEngine, tools: Tools) -> Target:
    """A target with the artifact that has the tokenizer of its engine.

    That is the engine's own, or that of the model it is of.

    Raises:
        UsageError: It is options for a model, which has to be named.
        NotFoundError: Nothing tells which tokenizer it has.
        NimctlError: The model's registry does not give it.
    """
    if found.sidecar and found.recipe.strategy == "pytorch" and found.checkpoint is None:
        model = found.sidecar.reference
        raise UsageError(
            f"{found.reference} has options for the model {model}, and not the model",
            cause="that comes in its precision, so none was made",
            hint=f"nimctl engines import '{target.ref}' && nimctl serve '{model}'",
        )
    tokenizer = _tokenizer_for(target.artifact, found, tools)
    return msgspec.structs.replace(target, tokenizer=tokenizer)


def _tokenizer_for(artifact: Artifact, found: FoundEngine, tools: Tools) -> Artifact:
    if tokenizer_directory(artifact) is not None:
        return artifact
    for reference in artifact.beside:
        pinned = tools.artifacts.pinned(ModelRef.parse(reference))
        if pinned and tokenizer_directory(pinned) is not None and tools.blobs.has_all(pinned.files):
            return pinned
    if found.sidecar is None:
        why = "neither its files nor a sidecar tell of which model it is"
        raise _without_tokenizer(artifact, why)
    ref = ModelRef.parse(found.sidecar.reference)
    try:
        return _of_model(ref, tools)
    except NotFoundError as error:
        # A directory of the machine that built it, for example.
        why = f"its sidecar names {ref}, which is not to be had here: {error.message}"
        raise _without_tokenizer(artifact, why) from error


def _without_tokenizer(artifact: Artifact, why: str) -> NotFoundError:
    return NotFoundError(
        f"the engine in {artifact.reference} has no tokenizer",
        cause=why,
        hint="put tokenizer.json and tokenizer_config.json beside it",
    )


def _of_model(ref: ModelRef, tools: Tools) -> Artifact:
    pinned = tools.artifacts.pinned(ref)
    if pinned is not None and tools.blobs.has_all(pinned.files):
        return pinned
    small = ref if ref.scheme in LOCAL_SCHEMES else ref.narrowed(_SMALL_FILES, ())
    pinned = tools.artifacts.pinned(small)
    return pinned or tools.registries.find(ref.scheme).resolve(small)


def _sidecar(data: bytes, artifact: Artifact) -> Engine:
    try:
        engine = msgspec.json.decode(data, type=Engine)
    except msgspec.DecodeError as error:
        raise VerificationError(
            f"the {SIDECAR} of {artifact.reference} is damaged", cause=str(error)
        ) from error
    check_sidecar(engine)
    return engine
