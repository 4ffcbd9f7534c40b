"""From a catalogue file to profiles: variants spelt out, and the NIM container as one more."""

from collections.abc import Iterable, Iterator

import msgspec

from nimctl.core.architecture import Architecture, shares_kv_heads
from nimctl.core.catalogue import Model, Nim, Variant
from nimctl.core.fit.precision import runs_on
from nimctl.core.gpus import GpuPart, by_key
from nimctl.core.machine import Host, capability_of
from nimctl.core.memory import (
    ANY_CAPACITY,
    TENSOR_PARALLEL,
    GpuShare,
    Grade,
    default_limits,
    gpu_memory_need,
)
from nimctl.core.profile import Profile


def profiles_of(model: Model, parts: Iterable[GpuPart]) -> tuple[Profile, ...]:
    """Every profile of a model; those that are bound to a GPU for these kinds only."""
    kinds = tuple(parts)
    expanded = (
        profile
        for variant in model.variants
        for plain in _expand(variant, model.architecture, kinds)
        for profile in _with_lora(plain, variant)
    )
    # The early-access container has a profile of its own: it serves what was pulled.
    early = any(profile.backend == "nemollm" for profile in model.profiles)
    container = (_of_nim(model.nim),) if model.nim and not early else ()
    return (*model.profiles, *expanded, *container)


def parts_of(host: Host) -> list[GpuPart]:
    """The kinds of GPU that a host has, as far as the table knows them."""
    keys = dict.fromkeys(gpu.key for gpu in host.gpus if gpu.key)
    return [part for key in keys if (part := by_key(key))]


def _expand(
    variant: Variant, architecture: Architecture | None, kinds: Iterable[GpuPart]
) -> Iterator[Profile]:
    on_gpu = variant.backend != "llama_cpp"
    if on_gpu and (variant.gpus or variant.backend == "tensorrt_llm"):
        chosen = [kind for kind in kinds if not variant.gpus or kind.key in variant.gpus]
        for precision in variant.precisions:
            for kind in chosen:
                yield from _bound(plain(variant, precision), architecture, kind)
        return
    for precision in variant.precisions:
        for tp in _divisors(architecture) if on_gpu else (1,):
            yield msgspec.structs.replace(plain(variant, precision), tp=tp)


def plain(variant: Variant, precision: str) -> Profile:
    """What all profiles of a variant in one precision have in common."""
    checkpoint = variant.backend == "tensorrt_llm" and not variant.build
    return Profile(
        backend=variant.backend,
        precision=precision,
        source=variant.source,
        build=variant.build,
        runtime="pytorch" if checkpoint else None,
        evidence=variant.evidence,
        unverified=variant.unverified,
    )


def _bound(profile: Profile, architecture: Architecture | None, kind: GpuPart) -> Iterator[Profile]:
    if not runs_on(profile, capability_of(kind.compute_capability)):
        return
    degrees = _degrees(profile, architecture, kind)
    for degree, target in degrees:
        yield msgspec.structs.replace(profile, gpu=kind.key, tp=degree, target=target)


def _degrees(
    profile: Profile, architecture: Architecture | None, kind: GpuPart
) -> Iterator[tuple[int, str]]:
    """The degrees of tensor parallelism worth offering on a kind of GPU, with their targets."""
    if architecture is None or kind.memory_bytes is None:
        yield 1, "throughput"
        return
    degrees = [1] if kind.comes_alone else _divisors(architecture)
    if profile.build:
        degrees = [tp for tp in degrees if shares_kv_heads(architecture, tp)]
    grades = {tp: _grade(profile, architecture, kind.memory_bytes, tp) for tp in degrees}
    fitting = [tp for tp in degrees if grades[tp] is not Grade.NO_FIT]
    if not fitting:
        return
    roomy = next((tp for tp in fitting if grades[tp] is Grade.OK), fitting[0])
    for tp in dict.fromkeys((fitting[0], roomy)):
        yield tp, "throughput"
    if faster := next((tp for tp in fitting if tp > roomy), None):
        yield faster, "latency"


def _grade(profile: Profile, architecture: Architecture, memory_bytes: int, tp: int) -> Grade:
    share = GpuShare(backend=profile.backend, precision=profile.precision, tp=tp)
    limits = default_limits(architecture, memory_bytes, ANY_CAPACITY, tp=tp)
    need = gpu_memory_need(architecture, share, limits, memory_bytes)
    return Grade.OK if need is None or need.grade is None else need.grade


def _divisors(architecture: Architecture | None) -> list[int]:
    """Degrees of tensor parallelism: they divide the attention heads; KV heads are replicated."""
    if architecture is None:
        return [1]
    return [tp for tp in TENSOR_PARALLEL if architecture.heads % tp == 0]


def _with_lora(profile: Profile, variant: Variant) -> Iterator[Profile]:
    yield profile
    if variant.lora:
        yield msgspec.structs.replace(profile, lora=True)


def _of_nim(nim: Nim) -> Profile:
    memory = nim.gpu_memory_gib
    return Profile(
        backend="nim",
        gpu_count=nim.gpus,
        gpu_memory_bytes=round(memory * 2**30) if memory else None,
        compute_capability=nim.compute_capability,
        evidence=nim.source,
        unverified=nim.unverified,
    )
