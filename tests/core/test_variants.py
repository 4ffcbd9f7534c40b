"""What a catalogue file's variants stand for."""

import msgspec
import pytest
from architectures import LLAMA_8B, LLAMA_70B

from nimctl.core.architecture import Architecture
from nimctl.core.catalogue import Model, Nim, Variant
from nimctl.core.gpus import PARTS, by_key
from nimctl.core.profile import Profile
from nimctl.core.variants import profiles_of

HUB = "hf://org/model"


def names(variant: Variant, *gpus: str, architecture: Architecture | None = LLAMA_8B) -> list[str]:
    model = Model(name="m", title="M", architecture=architecture, variants=(variant,))
    kinds = [part for key in gpus if (part := by_key(key))]
    return [profile.name for profile in profiles_of(model, kinds)]


def test_an_engine_takes_the_fewest_gpus_that_hold_it_and_the_next_for_low_latency() -> None:
    variant = Variant(backend="tensorrt_llm", precisions=("fp8",), source=HUB, build=True)
    assert names(variant, "h100_sxm") == [
        "tensorrt_llm-h100_sxm-fp8-tp1-pp1-throughput",
        "tensorrt_llm-h100_sxm-fp8-tp2-pp1-latency",
    ]


def test_where_the_fewest_are_tight_there_is_one_more_that_is_not() -> None:
    # 70B in fp8 on one H100 runs starved: 840 tokens/s against 4,391 on two
    # (NVIDIA/TensorRT-LLM v0.17, docs/source/performance/perf-overview.md).
    variant = Variant(backend="tensorrt_llm", precisions=("fp8",), source=HUB, build=True)
    assert names(variant, "h100_sxm", architecture=LLAMA_70B) == [
        "tensorrt_llm-h100_sxm-fp8-tp1-pp1-throughput",
        "tensorrt_llm-h100_sxm-fp8-tp2-pp1-throughput",
        "tensorrt_llm-h100_sxm-fp8-tp4-pp1-latency",
    ]


def test_a_gpu_has_the_precisions_of_its_compute_capability_only() -> None:
    every = ("nvfp4", "fp8", "bf16", "int8_sq")
    engine = Variant(backend="tensorrt_llm", precisions=every, source=HUB, build=True)
    checkpoint = Variant(backend="tensorrt_llm", precisions=every, source=HUB)

    def found(variant: Variant, gpu: str) -> set[str]:
        return {name.split("-")[2] for name in names(variant, gpu)}

    assert found(engine, "a100_sxm_80gb") == {"bf16", "int8_sq"}
    assert found(engine, "l40s") == {"fp8", "bf16", "int8_sq"}
    assert found(engine, "rtx_5090") == {"nvfp4", "fp8", "bf16", "int8_sq"}
    # The PyTorch backend serves no int8.
    assert found(checkpoint, "a100_sxm_80gb") == {"bf16"}
    assert found(checkpoint, "b200") == {"nvfp4", "fp8", "bf16"}
    assert found(engine, "t4") == set()


def test_parts_of_which_no_machine_has_two_have_no_tensor_parallelism() -> None:
    variant = Variant(backend="tensorrt_llm", precisions=("fp8",), source=HUB, build=True)
    for alone in ("rtx_4090_laptop", "gb10"):
        assert names(variant, alone) == [f"tensorrt_llm-{alone}-fp8-tp1-pp1-throughput"]


def test_a_checkpoint_that_tensorrt_llm_serves_as_it_is_has_a_name_of_its_own() -> None:
    checkpoint = Variant(backend="tensorrt_llm", precisions=("fp8",), source=HUB)
    assert names(checkpoint, "h100_sxm")[0] == (
        "tensorrt_llm-h100_sxm-fp8-tp1-pp1-throughput-pytorch"
    )


def test_vllm_is_bound_to_no_gpu_unless_one_is_named() -> None:
    generic = Variant(backend="vllm", precisions=("bf16",), source=HUB)
    assert names(generic, "h100_sxm") == [f"vllm-bf16-tp{tp}-pp1" for tp in (1, 2, 4, 8)]
    bound = msgspec.structs.replace(generic, gpus=("l40s",))
    assert names(bound, "h100_sxm", "l40s") == [
        "vllm-l40s-bf16-tp1-pp1-throughput",
        "vllm-l40s-bf16-tp2-pp1-latency",
    ]


def test_tensor_parallelism_divides_the_attention_heads() -> None:
    fourteen = msgspec.structs.replace(LLAMA_8B, heads=14, kv_heads=2)
    generic = Variant(backend="vllm", precisions=("bf16",), source=HUB)
    assert names(generic, architecture=fourteen) == ["vllm-bf16-tp1-pp1", "vllm-bf16-tp2-pp1"]


def test_an_engine_is_offered_where_heads_of_keys_can_be_shared() -> None:
    phi = msgspec.structs.replace(LLAMA_70B, heads=40, kv_heads=10)
    built = Variant(backend="tensorrt_llm", precisions=("fp8",), source="hf://a/b", build=True)
    assert not any("-tp4-" in name for name in names(built, "h100_sxm", architecture=phi))
    served = msgspec.structs.replace(built, build=False)
    assert any("-tp4-" in name for name in names(served, "h100_sxm", architecture=phi))


def test_a_variant_for_lora_doubles_its_profiles() -> None:
    variant = Variant(backend="vllm", precisions=("bf16",), source=HUB, lora=True)
    assert names(variant)[:2] == ["vllm-bf16-tp1-pp1", "vllm-bf16-tp1-pp1-lora"]


def test_a_model_that_no_gpu_of_a_kind_holds_has_no_profile_there() -> None:
    variant = Variant(backend="tensorrt_llm", precisions=("bf16",), source=HUB, build=True)
    assert names(variant, "rtx_3060", architecture=LLAMA_70B) == []


def test_a_nim_is_one_profile_with_what_its_container_needs() -> None:
    nim = Nim(
        image="nvcr.io/nim/arc/evo2:2",
        source="https://docs.nvidia.com/nim/bionemo/evo2",
        ports={"http": 8000},
        gpus=2,
        gpu_memory_gib=80,
        compute_capability="8.9",
    )
    (profile,) = profiles_of(Model(name="evo2", title="Evo 2", family="biology", nim=nim), PARTS)
    assert profile.name == "nim"
    assert profile.tags == {"backend": "nim", "number_of_gpus": "2"}
    assert profile.gpus_needed == 2
    assert profile.gpu_memory_bytes == 80 * 2**30


@pytest.mark.parametrize("architecture", [LLAMA_8B, LLAMA_70B])
def test_the_names_and_ids_of_a_models_profiles_are_its_own(architecture: Architecture) -> None:
    engine = Variant(backend="tensorrt_llm", precisions=("fp8", "bf16"), source=HUB, build=True)
    checkpoint = Variant(backend="tensorrt_llm", precisions=("fp8", "bf16"), source=HUB, lora=True)
    generic = Variant(backend="vllm", precisions=("fp8", "bf16"), source=HUB)
    model = Model(
        name="m",
        title="M",
        architecture=architecture,
        profiles=(Profile(backend="llama_cpp", precision="q8_0"),),
        variants=(engine, checkpoint, generic),
    )
    profiles = profiles_of(model, PARTS)
    assert len({profile.name for profile in profiles}) == len(profiles) > 100
    assert len({profile.id for profile in profiles}) == len(profiles)
