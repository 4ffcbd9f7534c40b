"""Profiles for a model that no catalogue lists, from the files that it has."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from nimctl.core.catalogue import Model, Variant
from nimctl.core.checkpoint import CONVERTIBLE, Checkpoint
from nimctl.core.early_access import early_access_model
from nimctl.core.engine import SIDECAR
from nimctl.core.errors import UnsupportedModelError, UsageError
from nimctl.core.facts import Artifact
from nimctl.core.profile import Profile
from nimctl.core.refs import ModelRef
from nimctl.core.trtllm.families import UNQUANTISED, family_of
from nimctl.core.trtllm.prebuilt import FoundEngine, profile_of_engine

_GENERATING = ("ForCausalLM", "ForConditionalGeneration")
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_QUANTISATION = re.compile(r"[.-]((?:i?q\d|f16|bf16|f32|mxfp4)[a-z0-9_]*)$", re.IGNORECASE)


def gguf_file(artifact: Artifact) -> str | None:
    """The path of the artifact's GGUF model, the first shard of several; None if it has none.

    Raises:
        UsageError: There are several, and nothing says which.
    """
    ggufs = [file.path for file in artifact.files if file.path.endswith(".gguf")]
    models = [path for path in ggufs if "mmproj" not in PurePosixPath(path).name]
    firsts = [
        path for path in models if (part := _SHARD.search(path)) is None or part[1] == "00001"
    ]
    if len(firsts) > 1:
        raise UsageError(
            f"{artifact.reference} has {len(firsts)} GGUF files: {', '.join(sorted(firsts))}",
            hint=f"name one with ?include={PurePosixPath(min(firsts)).name}",
        )
    return firsts[0] if firsts else None


def unlisted_model(ref: ModelRef, artifact: Artifact, checkpoint: Checkpoint) -> Model:
    """Say what can be done with an artifact.

    Raises:
        UnsupportedModelError: Nothing that is known can run it.
    """
    if early := early_access_model(ref, artifact):
        return early
    profiles: tuple[Profile, ...] = ()
    variants: tuple[Variant, ...] = ()
    gguf = gguf_file(artifact)
    if gguf:
        profiles = (_profile(_quantisation(gguf), ref, build=False),)
    elif any(file.path.endswith(".safetensors") for file in artifact.files):
        if checkpoint.class_name in (None, *CONVERTIBLE) and not checkpoint.quantised:
            profiles = tuple(_profile(precision, ref, build=True) for precision in ("f16", "q8_0"))
        variants = tuple(_variants(ref, checkpoint))
        if not profiles and not variants:
            raise UnsupportedModelError(
                f"{ref} is a {checkpoint.class_name}, which no backend is known to run",
                cause="llama_cpp is built for " + ", ".join(CONVERTIBLE),
                hint="serve a GGUF file of it: hf://ORG/REPO-GGUF?include=*q8_0.gguf",
            )
    else:
        is_engine = any(file.path == SIDECAR for file in artifact.files)
        raise UnsupportedModelError(
            f"{ref} has neither safetensors nor a GGUF file",
            cause="it has " + (", ".join(file.path for file in artifact.files[:8]) or "no files"),
            hint=f"it is an engine: nimctl engines import '{ref}'" if is_engine else None,
        )
    return Model(
        name=ref.short_name,
        title=ref.short_name,
        reference=str(ref),
        architecture=checkpoint.architecture,
        profiles=profiles,
        variants=variants,
    )


def model_of_engine(ref: ModelRef, found: FoundEngine) -> Model:
    """An artifact that holds an engine of TensorRT-LLM: the one profile that this is."""
    return Model(
        name=ref.short_name,
        title=ref.short_name,
        reference=str(ref),
        architecture=found.architecture,
        profiles=(profile_of_engine(found, str(ref)),),
    )


def _variants(ref: ModelRef, checkpoint: Checkpoint) -> Iterator[Variant]:
    """The ways to run a generating model on GPUs; a server says itself which classes it knows."""
    name, precision = checkpoint.class_name or "", checkpoint.precision
    if precision is None or not name.endswith(_GENERATING):
        return
    source = str(ref)
    family = family_of(name)
    if family and not checkpoint.quantised:
        precisions = (*UNQUANTISED, *family.quantises)
        yield Variant(backend="tensorrt_llm", precisions=precisions, source=source, build=True)
    elif family:
        yield Variant(backend="tensorrt_llm", precisions=(precision,), source=source)
    lora = not checkpoint.quantised
    yield Variant(backend="vllm", precisions=(precision,), source=source, lora=lora)
    yield Variant(backend="sglang", precisions=(precision,), source=source)


def _profile(precision: str, ref: ModelRef, *, build: bool) -> Profile:
    return Profile(backend="llama_cpp", precision=precision, source=str(ref), build=build)


def _quantisation(path: str) -> str:
    stem = PurePosixPath(_SHARD.sub("", path)).name.removesuffix(".gguf")
    found = _QUANTISATION.search(stem)
    return found[1].lower() if found else "gguf"
