"""Tags become what the judge asks about, and every name that a NIM prints finds its profile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimctl.core.nim_manifest import ManifestProfile
from nimctl.core.nim_profiles import name_of, named, profile_of
from nimctl.core.profile import ManifestEntry, Profile

ENGINE = {
    "llm_engine": "tensorrt_llm",
    "gpu": "H100",
    "gpu_device": "2330:10de",
    "precision": "fp8",
    "tp": "2",
    "pp": "1",
    "profile": "latency",
    "number_of_gpus": "2",
}


def profile(id_: str = "an-id", **tags: str) -> Profile:
    return profile_of(ManifestProfile(id=id_, tags=tags))


def test_the_tags_of_an_engine_become_a_profile() -> None:
    name = "tensorrt_llm-h100-fp8-tp2-pp1-latency"
    assert profile(**ENGINE) == Profile(
        backend="tensorrt_llm",
        precision="fp8",
        tp=2,
        pp=1,
        target="latency",
        gpu="H100",
        gpu_device="2330:10de",
        gpu_count=2,
        entry=ManifestEntry(id="an-id", name=name, tags=ENGINE),
    )


def test_what_else_tags_may_say() -> None:
    lora = profile(llm_engine="vllm", feat_lora="True", feat_lora_max_rank="32")
    assert (lora.lora, lora.lora_max_rank) == (True, 32)
    assert profile(llm_engine="tensorrt_llm", trtllm_buildable="true").build
    assert profile(llm_engine="vllm", min_vram_per_device_gb="24").gpu_memory_bytes == 24 * 10**9
    assert profile(llm_engine="tensorrt_llm", trtllm_backend="pytorch").runtime == "pytorch"
    pattern = profile(backend="tensorrt", product_name_regex="^NVIDIA-L4(?!0S).*")
    assert pattern.product_pattern == "^NVIDIA-L4(?!0S).*"
    speech = profile(model_type="rmir", name="parakeet", mode="ofl", ampereplus="enabled")
    assert (speech.backend, speech.build, speech.ampere_plus) == ("triton", True, True)
    assert profile(colour="blue").backend == "unknown"


# As listed in https://docs.nvidia.com/nim/large-language-models/ (1.0.0 utilities, 1.12.0
# profiles) and ../speech/latest/reference/utilities.html, or reported.
@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ({"llm_engine": "vllm", "precision": "fp16", "tp": "1"}, "vllm-fp16-tp1"),
        ({"llm_engine": "vllm", "precision": "bf16", "tp": "1", "pp": "1", "feat_lora": "true"},
         "vllm-bf16-tp1-pp1-lora"),
        ({"llm_engine": "tensorrt_llm", "trtllm_buildable": "true", "precision": "bf16", "tp": "1",
          "pp": "1", "feat_lora": "false"}, "tensorrt_llm-trtllm_buildable-bf16-tp1-pp1"),
        ({"llm_engine": "vllm"}, "vllm"),
        ({"backend": "tensorrt", "key": "NVIDIA-A10G_10.0.1_12", "precision": "fp16"},
         "tensorrt-nvidia-a10g_10.0.1_12-fp16"),
        ({"name": "parakeet", "mode": "ofl", "bs": "32"}, "bs:32|mode:ofl|name:parakeet"),
        ({}, "unknown"),
    ],
)  # fmt: skip
def test_names_are_those_that_nim_lists(tags: dict[str, str], name: str) -> None:
    assert name_of(tags) == name


@pytest.mark.parametrize(
    "text",
    [
        "AN-ID",
        "tensorrt_llm-h100-fp8-tp2-pp1-latency",
        "tensorrt_llm-H100-fp8-tp2-latency",  # before 1.3
        "tensorrt_llm-h100-fp8-tp2-pp1-latency-2330:10de-2",  # from 1.12
        f"tensorrt_llm-h100-fp8-tp2-pp1-latency-2330:10de-{'0f' * 32}-2",
    ],
)
def test_every_name_that_some_nim_prints_finds_the_profile(text: str) -> None:
    tags = {**ENGINE, "nim_workspace_hash_v1": "0f" * 32}
    lora = profile("lora", **tags, feat_lora="true", feat_lora_max_rank="32")
    others = [lora, profile("b", **{**tags, "tp": "1"}), profile("c", **{**tags, "pp": "2"})]
    assert [one.id for one in named(iter([*others, profile(**tags)]), text)] == ["an-id"]


@pytest.mark.parametrize("suffix", ["lora", "lora-lora", "lora-32", "feat_lora"])
def test_names_of_lora_profiles(suffix: str) -> None:
    lora = profile("lora", **ENGINE, feat_lora="true", feat_lora_max_rank="32")
    text = f"tensorrt_llm-h100-fp8-tp2-pp1-latency-{suffix}"
    assert named([profile(**ENGINE), lora], text) == [lora]


def test_a_name_of_nothing_finds_nothing() -> None:
    for text in ("", "tensorrt_llm", "tensorrt_llm-h100-fp8-tp2-pp1-throughput", "vllm-fp8-tp2"):
        assert named([profile(**ENGINE)], text) == []


TAGS = st.dictionaries(
    st.sampled_from([*ENGINE, "feat_lora", "model_type", "backend", "key", "x"]),
    st.sampled_from(["", "true", "1", "2", "tensorrt_llm", "fp8", "A100", "∞", "1e9", "latency"]),
)


@given(TAGS)
def test_any_tags_make_a_profile_that_its_own_name_finds(tags: dict[str, str]) -> None:
    one = profile(**tags)
    assert one.tags == tags
    assert one.tp >= 1
    assert named([one], one.name) == [one]
