"""An engine that is not for this is refused, with the one field that decides."""

import msgspec
import pytest

from nimctl.core.engine import Engine, EngineRecipe
from nimctl.core.engine_check import (
    MismatchError,
    check_usable,
    differences,
    kv_caches_of,
    obstacles,
)
from nimctl.core.facts import Artifact, File
from nimctl.core.profile import Profile

RECIPE = EngineRecipe(
    backend="tensorrt_llm",
    strategy="tensorrt",
    precision="fp8",
    builder="tensorrt_llm 1.2.1",
    limits={"max_batch_size": 64, "max_seq_len": 8192},
    flags={"trtllm-build --gemm_plugin": "disable"},
    kv_cache="fp8",
    calibration="c" * 64,
    tensorrt_version="10.14.1",
    compute_capability="9.0",
    gpu="h100_sxm",
)


def engine(**fields: object) -> Engine:
    recipe = msgspec.structs.replace(RECIPE, **fields)
    return Engine(
        key=recipe.key("m" * 64),
        model_digest="m" * 64,
        reference="hf://meta-llama/Llama-3.1-8B-Instruct@main",
        recipe=recipe,
        created="2026-11-24T10:00:00+00:00",
        files=(),
    )


OTHERS: list[tuple[str, object]] = [
    ("backend", "vllm"),
    ("strategy", "pytorch"),
    ("compute_capability", "8.9"),
    ("gpu", "h100_pcie"),
    ("tensorrt_version", "10.15.1"),
    ("builder", "tensorrt_llm 1.3.0rc20"),
    ("precision", "nvfp4"),
    ("tp", 2),
    ("pp", 2),
    ("kv_cache", "auto"),
    ("calibration", None),
    ("limits", {"max_batch_size": 8, "max_seq_len": 8192}),
    ("flags", {}),
]


def test_an_engine_of_the_same_recipe_differs_in_nothing() -> None:
    assert differences(RECIPE, engine().recipe) == ()
    check_usable(RECIPE, engine(), "llama", "m" * 64)


def test_every_field_of_a_recipe_is_compared() -> None:
    assert {field for field, _ in OTHERS} == set(EngineRecipe.__struct_fields__)


@pytest.mark.parametrize(("field", "value"), OTHERS)
def test_one_field_that_differs_is_the_one_that_is_named(field: str, value: object) -> None:
    (difference,) = differences(RECIPE, engine(**{field: value}).recipe)
    assert difference.needed != difference.found


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"compute_capability": "8.9"}, "its compute capability is 8.9, needed is 9.0"),
        ({"gpu": "h100_pcie"}, "its GPU is h100_pcie, needed is h100_sxm"),
        ({"tensorrt_version": "10.15.1"}, "its TensorRT version is 10.15.1, needed is 10.14.1"),
        ({"tp": 2}, "its tensor parallelism is 2, needed is 1"),
        ({"limits": {"max_batch_size": 8, "max_seq_len": 8192}}, "its max_batch_size is 8"),
        # A TensorRT of another version comes with another builder: the first explains the second.
        (
            {"builder": "tensorrt_llm 1.3.0rc20", "tensorrt_version": "10.15.1"},
            "its TensorRT version is 10.15.1",
        ),
    ],
)
def test_the_refusal_names_the_field_and_the_remedy(fields: dict[str, object], words: str) -> None:
    with pytest.raises(MismatchError) as caught:
        check_usable(RECIPE, engine(**fields), "llama-3.1-8b-instruct")
    assert words in caught.value.message
    assert caught.value.hint == (
        "nimctl build-engine llama-3.1-8b-instruct --precision fp8 "
        "--max-batch-size 64 --max-seq-len 8192 --kv-cache-dtype fp8 --calib FILE"
    )
    assert caught.value.exit_code == 7


def test_the_remedy_divides_the_model_as_it_is_needed() -> None:
    needed = msgspec.structs.replace(RECIPE, tp=4, pp=2, limits={}, kv_cache=None, calibration=None)
    with pytest.raises(MismatchError) as caught:
        check_usable(needed, engine(), "m")
    assert caught.value.hint == "nimctl build-engine m --precision fp8 --tp 4 --pp 2"


def test_the_kv_cache_of_the_engine_that_was_used_last_is_what_a_profile_has() -> None:
    profile = Profile(
        backend="tensorrt_llm", precision="fp8", source="hf://m/x", build=True, gpu="h100_sxm"
    )
    other = msgspec.structs.replace(profile, precision="bf16")
    file = File(path="model.safetensors", url="file:///m", size=1, digests={"sha256": "f" * 64})
    artifact = Artifact(reference="hf://m/x", revision="main", files=(file,))
    pinned = {"hf://m/x": artifact}
    engines = [
        msgspec.structs.replace(one, model_digest=artifact.digest)
        for one in (engine(kv_cache="auto"), engine(), engine(precision="bf16", tp=2))
    ]
    assert kv_caches_of([profile, other], pinned, engines) == {profile.id: "auto"}
    assert kv_caches_of([profile], {"hf://m/x": None}, engines) == {}


def test_an_engine_of_another_model_is_refused() -> None:
    with pytest.raises(MismatchError, match="its model is mmmmmmmmmmmm, needed is nnnnnnnnnnnn"):
        check_usable(RECIPE, engine(), "llama", "n" * 64)


def test_larger_limits_and_other_tuning_are_no_obstacle() -> None:
    larger = engine(limits={"max_batch_size": 512, "max_seq_len": 8192}, flags={}, kv_cache="auto")
    needed = msgspec.structs.replace(RECIPE, kv_cache=None)
    assert obstacles(needed, larger.recipe) == ()
    assert differences(needed, larger.recipe) != ()


def test_a_kv_cache_that_was_asked_for_is_needed() -> None:
    (one,) = obstacles(RECIPE, engine(kv_cache="auto").recipe)
    assert one.words == "its KV cache is auto, needed is fp8"
