"""Engines among the files of an artifact: where they lie, and what they say of themselves.

The layout of an engine's directory, and what its `config.json` holds: NVIDIA/TensorRT-LLM,
tensorrt_llm/builder.py at 008b2b8d, `Engine.save` and `EngineConfig.to_dict`. It names no GPU: that
is known from nimctl's sidecar, the tags of a NIM manifest, what NGC shows of it, or not at all.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

import msgspec

from nimctl.core.architecture import Architecture
from nimctl.core.catalogue import Nim
from nimctl.core.checkpoint import CONFIG_FILE, read_architecture, whole_number
from nimctl.core.engine import SIDECAR, Engine, EngineRecipe
from nimctl.core.errors import UsageError, VerificationError
from nimctl.core.facts import Artifact
from nimctl.core.gpus import PARTS, GpuPart, by_device, by_key
from nimctl.core.profile import Profile
from nimctl.core.refs import ModelRef
from nimctl.core.trtllm.job import expected_outputs
from nimctl.core.trtllm.quantise import CHECKPOINT
from nimctl.core.trtllm.releases import installed_name, release
from nimctl.core.trtllm.serve_options import OPTIONS_FILE
from nimctl.core.value import Value

_RANK = re.compile(r"rank\d+\.engine", re.ASCII)
_OWN = re.compile(r"config\.json|rank\d+(\.engine|_managed_weights\.safetensors)|lora/.+", re.ASCII)
_BUNDLE = {OPTIONS_FILE, SIDECAR}
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")
# tensorrt_llm/quantization/mode.py, `QuantAlgo`.
_PRECISIONS = {"FP8": "fp8", "NVFP4": "nvfp4", "W4A16_AWQ": "int4_awq", "W4A8_AWQ": "w4a8_awq"}
_SMOOTH = "W8A8_SQ_"
_DTYPES = {"bfloat16": "bf16", "float16": "fp16"}
_KV_CACHES = {"FP8": "fp8", "INT8": "int8"}
_LIMITS = ("max_batch_size", "max_num_tokens", "max_seq_len", "max_beam_width")


class FoundEngine(Value):
    """An engine of TensorRT-LLM among the files of an artifact.

    `files` maps paths in the engine to those in the artifact `reference`. What the files do not say
    is None in `recipe`. `sidecar` is nimctl's own, where it is there.
    """

    reference: str
    files: dict[str, str]
    recipe: EngineRecipe
    sidecar: Engine | None = None
    architecture: Architecture | None = None

    @property
    def checkpoint(self) -> str | None:
        """Where the checkpoint that PyTorch serves lies in it; None where it has none."""
        return CHECKPOINT if f"{CHECKPOINT}/{CONFIG_FILE}" in self.files else None


def engine_directory_in(artifact: Artifact) -> str | None:
    """Where an artifact has an engine: empty or ending in `/`; None when it has none.

    Raises:
        UsageError: There are several.
    """
    found = engine_directories(artifact)
    if not found:
        return None
    if len(found) > 1:
        raise UsageError(
            f"{artifact.reference} has {len(found)} engines",
            cause="they lie in " + ", ".join(found),
            hint="name the files of one: ?include=DIRECTORY/*",
        )
    return "" if found[0] == "." else f"{found[0]}/"


def engine_directories(artifact: Artifact) -> list[str]:
    """Every directory in which an artifact has an engine; `.` is its root.

    What nimctl made for the PyTorch backend counts as one: its sidecar says so.
    """
    # Asked of every artifact of the store whenever profiles are judged, and one may have thousands.
    telling: dict[str, set[str]] = {}
    for file in artifact.files:
        directory, _, name = file.path.rpartition("/")
        if name in _BUNDLE or _RANK.fullmatch(name):
            telling.setdefault(directory or ".", set()).add(name)
    return sorted(one for one, names in telling.items() if names >= _BUNDLE or names - _BUNDLE)


def is_prebuilt(profile: Profile) -> bool:
    """Whether a profile's files are an engine of TensorRT-LLM, built elsewhere."""
    return (
        profile.backend == "tensorrt_llm"
        and not profile.build
        and profile.runtime is None
        and profile.entry is None
    )


def tokenizer_directory(artifact: Artifact) -> str | None:
    """Where an artifact has a tokenizer, the root before others; None when nowhere."""
    found = (PurePosixPath(one.path) for one in artifact.files)
    places = sorted(path.parent.as_posix() for path in found if path.name in _TOKENIZERS)
    return min(places, key=len) if places else None


def found_engine(
    artifact: Artifact,
    directory: str,
    config: Mapping[str, object],
    sidecar: Engine | None = None,
) -> FoundEngine:
    """Say what the engine in a directory of an artifact is.

    Raises:
        VerificationError: A file of it is missing, or its files contradict each other.
    """
    inside = {
        file.path.removeprefix(directory): file.path
        for file in artifact.files
        if file.path.startswith(directory)
    }
    if sidecar is not None:
        files = {one.path: inside[one.path] for one in sidecar.files if one.path in inside}
        _check_complete(artifact, files, [one.path for one in sidecar.files])
        recipe = sidecar.recipe
    else:
        recipe = _recipe(artifact, config)
        # In a directory of its own all is the engine's, at the root only what TensorRT-LLM writes.
        own = (name for name in inside if directory or _OWN.fullmatch(name))
        files = {name: inside[name] for name in own if name != SIDECAR}
        _check_complete(artifact, files, expected_outputs(recipe.tp * recipe.pp))
    # A checkpoint's own says the same without that level.
    named = {**config, **_mapping(config, "pretrained_config")}
    named.setdefault("architectures", [str(named.get("architecture"))])
    return FoundEngine(
        reference=artifact.reference,
        files=files,
        recipe=recipe,
        sidecar=sidecar,
        architecture=read_architecture(named),
    )


def config_paths(directory: str) -> tuple[str, str]:
    """The paths that an engine's `config.json` may have in its artifact."""
    return f"{directory}{CONFIG_FILE}", f"{directory}{CHECKPOINT}/{CONFIG_FILE}"


def profile_of_engine(found: FoundEngine, source: str) -> Profile:
    """The profile that an engine is, made for the GPU that is stated."""
    recipe = found.recipe
    return Profile(
        backend=recipe.backend,
        precision=recipe.precision,
        source=source,
        tp=recipe.tp,
        pp=recipe.pp,
        gpu=recipe.gpu,
    )


def profiles_of_nim(nim: Nim | None, pulled: Iterable[FoundEngine]) -> tuple[Profile, ...]:
    """The profiles that pulled engines of a model's NIM are: those of known releases and GPUs.

    NVIDIA keeps the files of a NIM under the name of its image; NGC has `_` for the dots of some.
    Engines of a NIM's own build of TensorRT-LLM are left to its container, as nothing else loads
    them.
    """
    if nim is None:
        return ()
    place = nim.image.partition("/")[2].partition(":")[0]
    return tuple(
        profile_of_engine(one, one.reference)
        for one in pulled
        if one.sidecar is None
        and one.recipe.gpu is not None
        and one.recipe.tensorrt_version is not None
        and _ngc_model(one.reference) == place.lower()
    )


def _ngc_model(reference: str) -> str | None:
    ref = ModelRef.parse(reference)
    return ref.path.lower().replace("_", ".") if ref.scheme == "ngc" else None


def gpu_of_tags(tags: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The key and the compute capability of the GPU that tags mean, as far as they say.

    The PCI device decides where it is given, as in `means`.
    """
    device, tag = tags.get("gpu_device"), tags.get("gpu", "").lower()
    if device:
        parts: tuple[GpuPart, ...] = by_device(device)
    else:
        parts = tuple(part for part in PARTS if tag and tag in (part.key, *part.nim_tags))
    capabilities = {part.compute_capability for part in parts}
    stated = tags.get("compute_capability")
    capability = stated or (next(iter(capabilities)) if len(capabilities) == 1 else None)
    return (parts[0].key if len(parts) == 1 else None), capability


def _gpu_of(artifact: Artifact) -> tuple[str | None, str | None]:
    """What a manifest says, or else the publisher."""
    said = gpu_of_tags(artifact.tags)
    return said if any(said) else gpu_of_tags({"gpu": artifact.gpu or ""})


def built_for(found: FoundEngine, gpu: str) -> FoundEngine:
    """The engine with the GPU that a person says it was built for, a key of the table."""
    part = by_key(gpu)
    capability = part.compute_capability if part else None
    recipe = msgspec.structs.replace(found.recipe, gpu=gpu, compute_capability=capability)
    return msgspec.structs.replace(found, recipe=recipe)


def agreed(found: FoundEngine, profile: Profile) -> FoundEngine:
    """The engine with the GPU that the catalogue states, when the two do not contradict.

    Raises:
        VerificationError: They do.
    """
    if found.recipe.gpu is None and profile.gpu is not None:
        found = built_for(found, profile.gpu)
    recipe = found.recipe
    pairs = {
        "gpu": (profile.gpu or recipe.gpu, recipe.gpu),
        "precision": (profile.precision, recipe.precision),
        "tp": (profile.tp, recipe.tp),
        "pp": (profile.pp, recipe.pp),
    }
    for field, (said, is_) in pairs.items():
        if said != is_:
            raise VerificationError(
                f"the engine in {found.reference} is not what the catalogue says",
                cause=f"{field} {is_} there, {said} in the profile {profile.name}",
            )
    return found


def _check_complete(artifact: Artifact, files: Mapping[str, str], needed: Iterable[str]) -> None:
    absent = [name for name in needed if name not in files]
    if absent:
        raise VerificationError(
            f"the engine in {artifact.reference} is not whole", cause=f"{absent[0]} is missing"
        )


def _recipe(artifact: Artifact, config: Mapping[str, object]) -> EngineRecipe:
    pretrained, build = _mapping(config, "pretrained_config"), _mapping(config, "build_config")
    version = config.get("version")
    if not isinstance(version, str) or not pretrained:
        raise VerificationError(
            f"the engine in {artifact.reference} does not say what it is",
            cause=f"its {CONFIG_FILE} has no version and no pretrained_config",
        )
    mapping = _mapping(pretrained, "mapping")
    quantisation = _mapping(pretrained, "quantization")
    gpu, capability = _gpu_of(artifact)
    recipe = EngineRecipe(
        backend="tensorrt_llm",
        strategy="tensorrt",
        precision=_precision(quantisation, pretrained),
        builder=installed_name(version),
        tp=whole_number(mapping, "tp_size") or whole_number(mapping, "world_size") or 1,
        pp=whole_number(mapping, "pp_size") or 1,
        kv_cache=_KV_CACHES.get(str(quantisation.get("kv_cache_quant_algo")), "auto"),
        limits={name: limit for name in _LIMITS if (limit := whole_number(build, name))},
        tensorrt_version=release(version).tensorrt,
        compute_capability=capability,
        gpu=gpu,
    )
    _check_tags(artifact, recipe)
    return recipe


def _check_tags(artifact: Artifact, recipe: EngineRecipe) -> None:
    """Refuse tags that say other things than the engine itself: nobody knows which are right."""
    for tag, value in _as_tags(recipe):
        stated = artifact.tags.get(tag, value).lower()
        if stated != value:
            raise VerificationError(
                f"the engine in {artifact.reference} contradicts its tags",
                cause=f"{tag} is {value} in its {CONFIG_FILE}, {stated} in the manifest",
            )


def _as_tags(recipe: EngineRecipe) -> Iterator[tuple[str, str]]:
    yield "precision", recipe.precision
    yield "tp", str(recipe.tp)
    yield "pp", str(recipe.pp)


def _precision(quantisation: Mapping[str, object], pretrained: Mapping[str, object]) -> str:
    algorithm = quantisation.get("quant_algo")
    if not isinstance(algorithm, str):
        dtype = str(pretrained.get("dtype"))
        return _DTYPES.get(dtype, dtype)
    if algorithm.startswith(_SMOOTH):
        return "int8_sq"
    return _PRECISIONS.get(algorithm, algorithm.lower())


def _mapping(config: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = config.get(key)
    return value if isinstance(value, Mapping) else {}
