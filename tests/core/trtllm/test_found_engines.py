"""What an engine's files say of it, and what they leave open."""

import json
from typing import Any

import pytest
from foreign_engines import engine_files

from nimctl.core.catalogue import Nim
from nimctl.core.errors import UsageError, VerificationError
from nimctl.core.facts import Artifact, File
from nimctl.core.trtllm.prebuilt import (
    FoundEngine,
    engine_directory_in,
    found_engine,
    gpu_of_tags,
    profiles_of_nim,
    tokenizer_directory,
)
from nimctl.core.trtllm.releases import is_built_by, release_image

H100 = {"gpu": "H100", "gpu_device": "2330:10de"}


def artifact(*paths: str, reference: str = "hf://acme/tiny", **tags: str) -> Artifact:
    files = tuple(File(path=path, url=f"https://example.com/{path}") for path in paths)
    return Artifact(reference=reference, files=files, tags=tags)


def config(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(engine_files()["config.json"])
    document["pretrained_config"] |= changes
    return document


def found(reference: str = "hf://acme/tiny", **tags: str) -> FoundEngine:
    one = artifact("config.json", "rank0.engine", reference=reference, **tags)
    return found_engine(one, "", config())


@pytest.mark.parametrize(
    ("paths", "directory"),
    [
        (("config.json", "rank0.engine"), ""),
        (("trtllm_engine/rank0.engine", "config.json"), "trtllm_engine/"),
        (("a/b/rank0.engine", "a/b/rank1.engine"), "a/b/"),
        (("rank0.safetensors", "model.engine", "rankx.engine"), None),
    ],
)
def test_an_engine_lies_where_its_ranks_do(paths: tuple[str, ...], directory: str | None) -> None:
    assert engine_directory_in(artifact(*paths)) == directory


def test_two_engines_are_none_to_choose_from() -> None:
    with pytest.raises(UsageError, match="has 2 engines"):
        engine_directory_in(artifact("a/rank0.engine", "b/rank0.engine"))


@pytest.mark.parametrize(
    ("quantisation", "precision", "kv_cache"),
    [
        ({}, "bf16", "auto"),
        ({"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}, "fp8", "fp8"),
        ({"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"}, "nvfp4", "fp8"),
        ({"quant_algo": "W4A16_AWQ", "kv_cache_quant_algo": "INT8"}, "int4_awq", "int8"),
        ({"quant_algo": "W4A8_AWQ"}, "w4a8_awq", "auto"),
        ({"quant_algo": "W8A8_SQ_PER_CHANNEL_PER_TOKEN_PLUGIN"}, "int8_sq", "auto"),
        ({"quant_algo": "MIXED_PRECISION"}, "mixed_precision", "auto"),
    ],
)
def test_precision_follows_from_the_quantisation(
    quantisation: dict[str, str], precision: str, kv_cache: str
) -> None:
    one = artifact("config.json", "rank0.engine")
    recipe = found_engine(one, "", config(quantization=quantisation)).recipe
    assert (recipe.precision, recipe.kv_cache) == (precision, kv_cache)


def test_at_the_root_an_engine_is_what_tensorrt_llm_writes() -> None:
    own = ("config.json", "rank0.engine", "rank0_managed_weights.safetensors", "lora/0/a.bin")
    other = ("README.md", "tokenizer.json", "engine.json.bak")
    assert set(found_engine(artifact(*own, *other), "", config()).files) == set(own)
    inside = [f"e/{path}" for path in (*own, *other)]
    assert set(found_engine(artifact(*inside, "x"), "e/", config()).files) == {*own, *other}


@pytest.mark.parametrize(
    ("tags", "gpu"),
    [
        (H100, ("h100_sxm", "9.0")),
        ({"gpu": "H100"}, ("h100_sxm", "9.0")),
        ({"gpu": "h100_pcie"}, ("h100_pcie", "9.0")),
        # The device decides: https://docs.nvidia.com/nim, profiles are matched by PCI id.
        ({"gpu": "H100", "gpu_device": "2331:10de"}, ("h100_pcie", "9.0")),
        ({"gpu": "no_such"}, (None, None)),
        ({"gpu_device": "ffff:10de"}, (None, None)),
        ({"compute_capability": "8.9"}, (None, "8.9")),
        ({}, (None, None)),
    ],
)
def test_tags_tell_the_gpu_or_nothing(
    tags: dict[str, str], gpu: tuple[str | None, str | None]
) -> None:
    assert gpu_of_tags(tags) == gpu


@pytest.mark.parametrize("tags", [{"tp": "2"}, {"pp": "2"}, {"precision": "fp8"}])
def test_tags_must_not_contradict_the_engine(tags: dict[str, str]) -> None:
    with pytest.raises(VerificationError, match="contradicts its tags"):
        found(**tags)


def test_tags_may_be_written_otherwise() -> None:
    assert found(precision="BF16", tp="1").recipe.precision == "bf16"


def nim(image: str) -> Nim:
    return Nim(image=image, source="https://example.com/x", ports={"http": 8000})


@pytest.mark.parametrize(
    ("reference", "tags", "count"),
    [
        ("ngc://nim/meta/llama-3_1-8b:0.1?file=rank0.engine", H100, 1),
        ("ngc://nim/meta/llama-3.1-8b:0.1?file=rank0.engine", H100, 1),
        ("ngc://nim/meta/llama-3_1-70b:0.1?file=rank0.engine", H100, 0),
        ("ngc://nim/meta/llama-3_1-8b:0.1?file=rank0.engine", {}, 0),
        ("hf://meta/llama-3_1-8b", H100, 0),
    ],
)
def test_engines_of_a_nim_lie_under_the_name_of_its_image(
    reference: str, tags: dict[str, str], count: int
) -> None:
    profiles = profiles_of_nim(
        nim("nvcr.io/nim/meta/llama-3.1-8b:1.8.6"), [found(reference, **tags)]
    )
    assert len(profiles) == count
    assert profiles_of_nim(None, [found(reference, **tags)]) == ()


def test_the_tokenizer_at_the_root_comes_first() -> None:
    assert tokenizer_directory(artifact("e/tokenizer.json", "tokenizer.model")) == "."
    assert tokenizer_directory(artifact("e/tokenizer.json", "rank0.engine")) == "e"
    assert tokenizer_directory(artifact("config.json")) is None


@pytest.mark.parametrize(
    ("builder", "image"),
    [
        ("tensorrt_llm 1.1.0", "nvcr.io/nvidia/tensorrt-llm/release:1.1.0"),
        ("tensorrt_llm 1.3.0rc15", "nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc15"),
        ("tensorrt_llm 0.17.1.dev2025", None),
        ("own.example/builder:1.2.1", "own.example/builder:1.2.1"),
    ],
)
def test_a_release_has_an_image(builder: str, image: str | None) -> None:
    assert release_image(builder) == image


def test_an_image_tagged_with_a_build_is_that_build() -> None:
    assert is_built_by("tensorrt_llm 0.17.1.dev2025", "own.example/trtllm:0.17.1.dev2025")
    assert not is_built_by("tensorrt_llm 0.17.1.dev2025", "own.example/trtllm:0.17.1")
