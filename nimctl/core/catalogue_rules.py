"""What must hold of a model file beyond its types; every breach is told, with its place."""

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from nimctl.core import gpus
from nimctl.core.architecture import Architecture, decoder_parameters
from nimctl.core.catalogue import Model, Nim, Variant
from nimctl.core.errors import UsageError
from nimctl.core.fit.precision import names_of, range_of
from nimctl.core.flaws import Flaw, meant
from nimctl.core.places import Path, path_text
from nimctl.core.profile import Profile
from nimctl.core.refs import ModelRef
from nimctl.core.serving.backends import BACKENDS
from nimctl.core.variants import plain

# GGUF types: https://github.com/ggml-org/llama.cpp/blob/master/tools/quantize/README.md
_GGUF_PRECISION = re.compile(r"f32|f16|bf16|mxfp4|i?q\d[a-z0-9_]*")
# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
_IMAGE = re.compile(
    r"[a-z0-9.-]+(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
# Keys of the table, and the words of NIM's tag `gpu`, in which what NVIDIA published is named.
_GPU_WORDS = frozenset(word for part in gpus.PARTS for word in (part.key, *part.nim_tags))
# By which factor the parameters may differ from what the other numbers add up to: where they were
# computed from them, biases apart, and else, where layers may differ from each other.
_COMPUTED, _STATED = 1.1, 4
_TARGETS = ("latency", "throughput")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


def broken_rules(model: Model, file_name: str) -> Iterator[Flaw]:
    """Everything that is wrong with a model whose types are right.

    `file_name` is the file's without directory and suffix.
    """
    if model.name != file_name:
        message = f"the file is {file_name}.yaml; a model's file is named after it"
        yield Flaw(path=("name",), message=message)
    if not (model.profiles or model.variants or model.nim):
        message = "there is no way to run it: give `profiles`, `variants` or `nim`"
        yield Flaw(path=(), message=message)
    if model.reference is not None:
        yield from _reference_flaws(model.reference, ("reference",))
    if model.architecture:
        yield from _architecture_flaws(model.architecture)
    for index, profile in enumerate(model.profiles):
        yield from _profile_flaws(profile, model.architecture, ("profiles", index))
    for index, variant in enumerate(model.variants):
        yield from _variant_flaws(variant, ("variants", index))
    yield from _repetitions(model)
    if model.nim:
        yield from _nim_flaws(model.nim)


def _profile_flaws(
    profile: Profile, architecture: Architecture | None, path: Path
) -> Iterator[Flaw]:
    yield from _unknown(profile.backend, BACKENDS, "backend", (*path, "backend"))
    if profile.precision is None and profile.backend != "nim":
        yield Flaw(path=path, message="`precision` is missing; only a NIM chooses by itself")
    yield from _precision_flaws(profile, (*path, "precision"))
    if profile.source is not None:
        yield from _reference_flaws(profile.source, (*path, "source"))
    elif profile.backend != "nim":
        yield Flaw(path=path, message="`source` is missing; only a NIM brings its own files")
    if profile.gpu is not None:
        yield from _gpu_flaws(profile.gpu, (*path, "gpu"))
    if profile.target is not None:
        yield from _unknown(profile.target, _TARGETS, "target", (*path, "target"))
    for name, degree in (("tp", profile.tp), ("pp", profile.pp)):
        if degree < 1:
            yield Flaw(path=(*path, name), message=f"{degree} is below 1")
    if architecture and profile.tp > 1 and architecture.heads % profile.tp:
        message = f"tp {profile.tp} does not divide the {architecture.heads} heads"
        yield Flaw(path=(*path, "tp"), message=message)
    if architecture and profile.pp > architecture.layers:
        message = f"pp {profile.pp} is more than the {architecture.layers} layers"
        yield Flaw(path=(*path, "pp"), message=message)


def _variant_flaws(variant: Variant, path: Path) -> Iterator[Flaw]:
    yield from _unknown(variant.backend, BACKENDS, "backend", (*path, "backend"))
    for index, precision in enumerate(variant.precisions):
        profile = plain(variant, precision)
        yield from _precision_flaws(profile, (*path, "precisions", index))
    yield from _reference_flaws(variant.source, (*path, "source"))
    for index, gpu in enumerate(variant.gpus):
        yield from _gpu_flaws(gpu, (*path, "gpus", index))


def _gpu_flaws(key: str, path: Path) -> Iterator[Flaw]:
    if key in _GPU_WORDS:
        return
    try:
        advice = f"the key of this GPU is {gpus.find(key).key}"
    except UsageError as error:
        advice = error.hint or error.message
    yield Flaw(path=path, message=f"`{key}` is no key of a GPU; {advice}")


def _precision_flaws(profile: Profile, path: Path) -> Iterator[Flaw]:
    backend, precision = profile.backend, profile.precision
    if precision is None or backend not in BACKENDS:
        return
    if backend == "llama_cpp":
        if not _GGUF_PRECISION.fullmatch(precision):
            message = f"`{precision}` is no GGUF type such as f16, q8_0 or q4_k_m"
            yield Flaw(path=path, message=message)
    elif range_of(profile) is None:
        yield from _unknown(precision, names_of(profile), f"precision of {backend}", path)


def _architecture_flaws(architecture: Architecture) -> Iterator[Flaw]:
    def at(field: str, message: str) -> Flaw:
        return Flaw(path=("architecture", field), message=message)

    if architecture.heads % architecture.kv_heads:
        yield at("kv_heads", f"{architecture.kv_heads} does not divide {architecture.heads} heads")
    if (architecture.experts is None) != (architecture.experts_per_token is None):
        yield at("experts", "`experts` and `experts_per_token` go together")
    for field, limit in (("experts_per_token", "experts"), ("attention_layers", "layers")):
        value, most = getattr(architecture, field), getattr(architecture, limit)
        if value and most and value > most:
            yield at(field, f"{value} is more than the {most} {limit}")
    window, layers = architecture.sliding_window, architecture.attention_layers
    if window and window.layers >= (layers or architecture.layers):
        yield at("sliding_window", f"{window.layers} layers leave none that attends to all tokens")
    says, adds_up_to = architecture.parameters, decoder_parameters(architecture)
    computed = architecture.parameters_from == "computed"
    if (
        adds_up_to
        and not 1 / (most := _COMPUTED if computed else _STATED) < says / adds_up_to < most
    ):
        yield at("parameters", f"{says:,}, but the other numbers add up to {adds_up_to:,}")
    for field in ("active_parameters", "vision_parameters"):
        value = getattr(architecture, field)
        if value and value > architecture.parameters:
            yield at(field, f"{value} is more than the {architecture.parameters} parameters")


def _repetitions(model: Model) -> Iterator[Flaw]:
    seen: dict[object, Path] = {}
    for index, profile in enumerate(model.profiles):
        path: Path = ("profiles", index)
        first = seen.setdefault(profile.name, path)
        if first != path:
            yield Flaw(path=path, message=f"the same as {path_text(first)}: {profile.name}")
    for index, variant in enumerate(model.variants):
        path = ("variants", index)
        for key in _keys(variant):
            first = seen.setdefault(key, path)
            if first != path:
                where = f"{key.backend} in {key.precision} on {key.gpu}"
                yield Flaw(path=path, message=f"{where} is also in {path_text(first)}")


class _Key(NamedTuple):
    backend: str
    precision: str
    build: bool
    lora: bool
    gpu: str


def _keys(variant: Variant) -> Iterator[_Key]:
    for precision in variant.precisions:
        for gpu in variant.gpus or ("every GPU",):
            yield _Key(variant.backend, precision, variant.build, variant.lora, gpu)


def _nim_flaws(nim: Nim) -> Iterator[Flaw]:
    if not _IMAGE.fullmatch(nim.image):
        yield Flaw(path=("nim", "image"), message=f"`{nim.image}` is not HOST/REPOSITORY[:TAG]")
    if not nim.ports:
        yield Flaw(path=("nim", "ports"), message="no port: nothing could be asked of it")
    if nim.selector_values and not nim.selector:
        yield Flaw(path=("nim", "selector_values"), message="there is no `selector` to take them")
    names = {"key_variable": nim.key_variable, "selector": nim.selector}
    for field, name in names.items():
        if name and not _VARIABLE.fullmatch(name):
            yield Flaw(path=("nim", field), message=f"`{name}` is no name of a variable")
    for name in nim.environment:
        if not _VARIABLE.fullmatch(name):
            yield Flaw(path=("nim", "environment", name), message="this is no name of a variable")


def _reference_flaws(text: str, path: Path) -> Iterator[Flaw]:
    try:
        ref = ModelRef.parse(text)
    except UsageError as error:
        yield Flaw(path=path, message="; ".join(filter(None, (error.message, error.hint))))
        return
    if ref.scheme == "catalogue":
        yield Flaw(path=path, message=f"`{text}` names no registry: hf://, ngc://, oci://, file://")


def _unknown(value: str, known: Collection[str], what: str, path: Path) -> Iterator[Flaw]:
    if value not in known:
        message = f"`{value}` is no {what} that nimctl knows; {meant(value, known)}"
        yield Flaw(path=path, message=message)
