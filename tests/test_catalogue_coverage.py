"""Where a model of the catalogue fits, there is a profile that runs it."""

from collections.abc import Iterator

import pytest
from machines import host

from nimctl.catalog import Catalog, packaged_directory
from nimctl.core.architecture import Architecture
from nimctl.core.catalogue import Model
from nimctl.core.fit import Judge
from nimctl.core.gpus import GpuPart, by_key
from nimctl.core.machine import capability_of
from nimctl.core.memory import (
    ANY_CAPACITY,
    GpuShare,
    Grade,
    default_limits,
    gpu_memory_need,
)
from nimctl.core.variants import profiles_of

MODELS = {
    model.name: model
    for model in Catalog(packaged_directory()).all()
    # The demo has no profile for GPUs on purpose, and llama-2-7b is one engine for one GPU;
    # llama-2-7b-chat is that model for all others.
    if model.architecture and model.name not in ("capitals-demo", "llama-2-7b")
}
PARTS = (
    *("a100_sxm_40gb", "a100_sxm_80gb", "h100_sxm", "h200", "b200"),
    *("l4", "l40s", "rtx_4090", "rtx_5090", "rtx_pro_6000_workstation"),
)
COUNTS = (1, 2, 4, 8)
# From which compute capability on there are kernels: NVIDIA/TensorRT-LLM,
# docs/source/features/quantization.md; mxfp4 below 9.0 by vLLM.
NATIVE = {
    "bf16": (8, 0),
    "fp8": (8, 9),
    "int4_awq": (8, 0),
    "mxfp4": (8, 0),
}
# ModelOpt's table (NVIDIA/Model-Optimizer, examples/hf_ptq/README.md) has no int4_awq of
# Llama-Nemotron Super, and no checkpoint in four bits that a backend's documents name is known.
NO_INT4 = ("llama-3.3-nemotron-super-49b-v1",)


def part_of(key: str) -> GpuPart:
    part = by_key(key)
    assert part is not None
    return part


def precisions_of(model: Model) -> tuple[str, ...]:
    """What it could be had in: whatever anyone quantises; gpt-oss comes in mxfp4 alone."""
    had = {one for variant in model.variants for one in variant.precisions}
    if had == {"mxfp4"}:
        return ("mxfp4",)
    return ("bf16", "fp8") if model.name in NO_INT4 else ("bf16", "fp8", "int4_awq")


def fits(architecture: Architecture, precision: str, part: GpuPart, count: int) -> bool:
    memory = part.memory_bytes
    assert memory is not None
    for tp in COUNTS:
        if tp > count or architecture.heads % tp:
            continue
        share = GpuShare(backend="vllm", precision=precision, tp=tp)
        limits = default_limits(architecture, memory, ANY_CAPACITY, tp=tp)
        need = gpu_memory_need(architecture, share, limits, memory)
        if need is not None and need.grade is not Grade.NO_FIT:
            return True
    return False


def without_a_profile(model: Model) -> Iterator[str]:
    architecture = model.architecture
    assert architecture is not None
    for key in PARTS:
        part = part_of(key)
        capability = capability_of(part.compute_capability)
        profiles = profiles_of(model, [part])
        native = [one for one in precisions_of(model) if capability >= NATIVE[one]]
        for count in COUNTS:
            judge = Judge(host(*[key] * count), architecture=architecture)
            runs = any(
                judge.judge(one).runs
                for one in profiles
                # A NIM chooses by itself, and what it has is not known here.
                if one.backend not in ("llama_cpp", "nim")
            )
            if not runs:
                yield from (
                    f"{count} {key} hold it in {precision}"
                    for precision in native
                    if fits(architecture, precision, part, count)
                )


@pytest.mark.parametrize("name", MODELS)
def test_where_a_model_fits_there_is_a_profile_that_runs_it(name: str) -> None:
    assert list(without_a_profile(MODELS[name])) == []


@pytest.mark.parametrize("name", [one.name for one in MODELS.values() if one.family == "llm"])
def test_with_memory_enough_every_language_model_runs_on_the_processor(name: str) -> None:
    model = MODELS[name]
    judge = Judge(host(memory_gib=1000), architecture=model.architecture)
    assert any(judge.judge(one).runs for one in profiles_of(model, []))


def test_what_is_taken_for_impossible_is_not_offered_after_all() -> None:
    for name in NO_INT4:
        offered = {one for variant in MODELS[name].variants for one in variant.precisions}
        assert not [one for one in offered if one.startswith("int4")]
