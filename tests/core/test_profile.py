from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimctl.core.errors import NotFoundError, UsageError
from nimctl.core.machine import Cpu, EmbeddedRuntime, Host
from nimctl.core.memory import MemoryNeed
from nimctl.core.profile import Candidate, Fit, Profile, Wish, judge, matching, rank

GIB = 2**30
CPU = Cpu(
    model="Test CPU",
    architecture="x86_64",
    cores=4,
    threads=8,
    features=("avx2", "fma", "f16c", "bmi2"),
)
HOST = Host(
    system="linux",
    cpu=CPU,
    memory_total_bytes=16 * GIB,
    memory_available_bytes=12 * GIB,
    disk_free_bytes=100 * GIB,
    embedded=EmbeddedRuntime(version="2026.10.11549", libgomp=True),
)
Q8 = Profile(backend="llama_cpp", precision="q8_0", source="hf://a/b", build=False)
F16 = Profile(backend="llama_cpp", precision="f16", source="hf://a/c", build=True)


def need(total: int, fitting: int | None = None) -> MemoryNeed:
    return MemoryNeed(
        weights_bytes=total,
        kv_cache_bytes=0,
        compute_bytes=0,
        runtime_bytes=0,
        fitting_context=fitting,
    )


candidates = st.builds(
    Candidate,
    profile=st.builds(
        Profile,
        backend=st.just("llama_cpp"),
        precision=st.sampled_from(["f16", "q8_0", "q4_k_m", "other"]),
        source=st.sampled_from(["hf://a/b", "hf://a/c", "hf://a/d"]),
        build=st.booleans(),
        tp=st.integers(1, 4),
    ),
    fit=st.sampled_from(list(Fit)),
    cached=st.booleans(),
)


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


@given(st.lists(candidates, max_size=8), st.randoms())
def test_the_order_of_the_input_never_matters(several: list[Candidate], random: Random) -> None:
    shuffled = list(several)
    random.shuffle(shuffled)
    assert [c.profile.name for c in rank(shuffled)] == [c.profile.name for c in rank(several)]


@given(st.integers(0, 20 * GIB), st.integers(0, 20 * GIB))
def test_a_profile_that_needs_more_is_never_fitter(one: int, other: int) -> None:
    order = list(Fit)
    less, more = sorted((one, other))
    fit_less = judge(Q8, HOST, need(less), cached=False).fit
    fit_more = judge(Q8, HOST, need(more), cached=False).fit
    assert order.index(fit_less) <= order.index(fit_more)


def test_the_four_classes_and_their_reasons() -> None:
    compatible = judge(Q8, HOST, need(GIB), cached=False)
    buildable = judge(F16, HOST, need(GIB), cached=False)
    built = judge(F16, HOST, need(GIB), cached=True)
    low = judge(Q8, HOST, need(14 * GIB, fitting=2048), cached=False)
    old = msgspec.structs.replace(HOST, cpu=msgspec.structs.replace(CPU, features=("fma",)))
    incompatible = judge(Q8, old, need(GIB), cached=False)
    assert compatible.fit is Fit.COMPATIBLE
    assert buildable.fit is Fit.BUILDABLE
    assert built.fit is Fit.COMPATIBLE
    assert low.fit is Fit.LOW_MEMORY
    assert "short of 2.0 GiB; --max-model-len 2048 --max-num-seqs 1 would fit" in low.reasons[0]
    assert incompatible.fit is Fit.INCOMPATIBLE
    assert "avx2, f16c, bmi2" in incompatible.reasons[0]


def test_what_is_cached_comes_first_then_fewer_bytes_per_weight() -> None:
    q8 = judge(Q8, HOST, None, cached=False)
    f16 = judge(F16, HOST, None, cached=False)
    assert rank([f16, q8]) == [q8, f16]
    cached = judge(F16, HOST, None, cached=True)
    assert rank([cached, q8])[0].profile == F16


def test_a_wish_narrows_by_name_id_and_precision() -> None:
    both = [judge(Q8, HOST, None, cached=False), judge(F16, HOST, None, cached=False)]
    for wish in (
        Wish(profile=F16.name),
        Wish(profile=F16.id),
        Wish(profile=F16.id[:12]),
        Wish(precision="f16"),
    ):
        assert [one.profile for one in matching(both, wish)] == [F16]
    with pytest.raises(NotFoundError, match="no profile `nope`") as caught:
        matching(both, Wish(profile="nope"))
    assert Q8.name in str(caught.value.cause)
    with pytest.raises(UsageError, match="precision fp8"):
        matching(both, Wish(precision="fp8"))
