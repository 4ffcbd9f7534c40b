"""What a profile is called, and what it is known by."""

import msgspec

from nimctl.core.profile import ManifestEntry, Profile

Q8 = Profile(backend="llama_cpp", precision="q8_0", source="hf://a/b", build=False)
F16 = Profile(backend="llama_cpp", precision="f16", source="hf://a/c", build=True)


def test_name_and_tags_spell_the_profile_out() -> None:
    profile = Profile(
        backend="tensorrt_llm",
        precision="fp8",
        source="ngc",
        build=False,
        tp=2,
        target="throughput",
        gpu="h100",
        lora=True,
    )
    assert profile.name == "tensorrt_llm-h100-fp8-tp2-pp1-throughput-lora"
    assert profile.tags == {
        "backend": "tensorrt_llm",
        "gpu": "h100",
        "precision": "fp8",
        "tp": "2",
        "pp": "1",
        "profile": "throughput",
        "feat_lora": "true",
    }


def test_the_id_depends_on_the_tags_alone() -> None:
    assert Q8.id == msgspec.structs.replace(Q8, source="hf://else/where", build=True).id
    assert Q8.id != F16.id
    # printf '{"backend":"llama_cpp","pp":"1","precision":"q8_0","tp":"1"}' | sha256sum
    assert Q8.id == "42b55312873ca4d47e315612b050b04b7fc7ab6378ba4168db97958377508df7"


def test_a_profile_of_a_manifest_keeps_its_own_id_name_and_tags() -> None:
    tags = {"llm_engine": "vllm", "precision": "fp16", "tp": "2", "shape": "round"}
    entry = ManifestEntry(id="1903", name="vllm-fp16-tp2", tags=tags)
    profile = Profile(backend="vllm", precision="fp16", tp=2, entry=entry)
    assert (profile.id, profile.name, profile.tags) == ("1903", "vllm-fp16-tp2", tags)


def test_it_takes_as_many_gpus_as_it_says_or_as_its_parallelism_needs() -> None:
    assert Profile(backend="vllm", tp=2, pp=2).gpus_needed == 4
    assert Profile(backend="nim", gpu_count=2).gpus_needed == 2
    assert Profile(backend="vllm", gpu_count=1, tp=4).gpus_needed == 4
