"""The judge: four classes, each with reasons that a person can act on."""

from typing import Any

import msgspec
import pytest
from architectures import LLAMA_8B, LLAMA_70B
from hypothesis import given
from hypothesis import strategies as st
from machines import CPU, GIB, gpu, host

from nimctl.core.architecture import Architecture
from nimctl.core.fit import Judge, engines_for
from nimctl.core.fit.groups import short_name
from nimctl.core.machine import Gpu, Host
from nimctl.core.memory import CapacityWish, Grade
from nimctl.core.planned import planned_host
from nimctl.core.profile import Candidate, Fit, ManifestEntry, Profile

VLLM = Profile(backend="vllm", precision="bf16")
ENGINE = Profile(
    backend="tensorrt_llm", precision="fp8", gpu="h100_sxm", build=True, target="throughput"
)
Q8 = Profile(backend="llama_cpp", precision="q8_0", source="hf://a/b")
F16 = Profile(backend="llama_cpp", precision="f16", source="hf://a/c", build=True)


def changed(profile: Profile, **fields: Any) -> Profile:
    return msgspec.structs.replace(profile, **fields)


def listed(backend: str = "vllm", tags: dict[str, str] | None = None, **fields: Any) -> Profile:
    entry = ManifestEntry(id="id", name="name", tags=tags or {"llm_engine": backend})
    return Profile(backend=backend, entry=entry, **fields)


def judge(profile: Profile, on: Host, model: Architecture | None = None, **how: Any) -> Candidate:
    return Judge(on, architecture=model, **how).judge(profile)


# Which GPU.


def test_an_engine_runs_on_the_gpu_that_it_is_made_for_only() -> None:
    assert judge(ENGINE, host("h100_sxm")).fit is Fit.BUILDABLE
    for other in ("h100_pcie", "h100_nvl", "h200", "l40s"):
        found = judge(ENGINE, host(other))
        assert found.fit is Fit.INCOMPATIBLE
        assert found.reasons[0].startswith("made for h100_sxm, this host has 1 ")


@pytest.mark.parametrize(
    ("tag", "device", "key", "fits"),
    [
        ("l40s", None, "l40s", True),
        ("L40S", "26b9:10de", "l40s", True),
        ("h100", None, "h100_sxm", True),
        ("h100", None, "h100_nvl", False),
        ("a10g", None, "a10", False),
        ("a100", None, "a100_pcie_80gb", False),
        (None, "20b2", "a100_sxm_80gb", True),
        (None, "20B2:10DE", "a100_sxm_80gb", True),
        # The device decides: the operator's test data call 26b5, an L40, L40S.
        ("l40s", "26b5:10de", "l40s", False),
    ],
)
def test_nims_tags_are_compared_whole(
    tag: str | None, device: str | None, key: str, *, fits: bool
) -> None:
    profile = listed("tensorrt_llm", precision="fp16", gpu=tag, gpu_device=device)
    assert (judge(profile, host(key)).fit is Fit.COMPATIBLE) is fits


def test_a_pattern_means_the_gpus_that_it_was_found_to_mean() -> None:
    profile = listed("tensorrt", product_pattern="^NVIDIA-A10(?!0).*")
    means = {("^NVIDIA-A10(?!0).*", "NVIDIA A10")}.__contains__

    def found(key: str) -> Fit:
        return judge(profile, host(key), names_product=lambda *pair: means(pair)).fit

    assert found("a10") is Fit.COMPATIBLE
    assert found("a100_sxm_80gb") is Fit.INCOMPATIBLE


def test_ampere_plus_engines_run_on_all_that_is_newer() -> None:
    tags = {"ampereplus": "enabled", "model_type": "prebuilt"}
    profile = listed("triton", tags, gpu_device="20b2", ampere_plus=True)
    assert judge(profile, host("h100_pcie")).fit is Fit.COMPATIBLE
    assert judge(profile, host("t4")).fit is Fit.INCOMPATIBLE


def test_speech_nims_build_only_where_the_manifest_has_no_engine() -> None:
    built = listed("triton", {"model_type": "rmir"}, build=True)
    ready = listed("triton", {"model_type": "prebuilt"}, gpu_device="20b2")
    covered = engines_for([built, ready])
    assert judge(built, host("a100_sxm_80gb"), covered=covered).fit is Fit.INCOMPATIBLE
    assert judge(built, host("h100_pcie"), covered=covered).fit is Fit.BUILDABLE
    both = host("a100_sxm_80gb", "h100_pcie")
    assert judge(built, both, covered=covered).gpus[0].key == "h100_pcie"


def test_an_engine_of_another_model_or_mode_is_none_of_this_one() -> None:
    def parakeet(kind: str, mode: str, device: str | None = None) -> Profile:
        tags = {"name": "parakeet", "mode": mode, "model_type": kind}
        where = {"gpu_device": device} if device else {}
        return listed("triton", tags | where, build=kind == "rmir", gpu_device=device)

    ready = parakeet("prebuilt", "ofl", "2331:10de")
    offline, streaming = parakeet("rmir", "ofl"), parakeet("rmir", "str")
    judge_all = Judge(host("h100_pcie"), covered=engines_for([ready, offline, streaming]))
    fits = [judge_all.judge(one).fit for one in (ready, offline, streaming)]
    assert fits == [Fit.COMPATIBLE, Fit.INCOMPATIBLE, Fit.BUILDABLE]


def test_a_context_that_the_model_was_not_trained_for_is_pointed_out() -> None:
    def said(tokens: int) -> tuple[str, ...]:
        capacity = CapacityWish(max_model_len=tokens)
        return judge(VLLM, host("h100_sxm"), LLAMA_8B, capacity=capacity).reasons

    assert said(131_072) == ()
    assert said(131_073) == (
        "--max-model-len 131073 goes beyond the 131072 tokens it was trained for",
    )


# Which precision.


@pytest.mark.parametrize(
    ("profile", "key", "reason"),
    [
        (
            Profile(backend="tensorrt_llm", precision="fp8", build=True),
            "a100_sxm_80gb",
            "fp8 needs compute capability 8.9, A100-SXM4-80GB has 8.0",
        ),
        (VLLM, "t4", "bf16 needs compute capability 8.0, Tesla T4 has 7.5"),
        (listed(precision="bf16"), "t4", "bf16 needs compute capability 8.0, Tesla T4 has 7.5"),
        (
            Profile(backend="tensorrt_llm", precision="int4_awq", runtime="pytorch"),
            "rtx_5090",
            "int4_awq needs a compute capability below 12.0, RTX 5090 has 12.0",
        ),
        (
            Profile(backend="tensorrt_llm", precision="int8_sq", runtime="pytorch"),
            "h100_sxm",
            "tensorrt_llm does not serve int8_sq",
        ),
        (
            Profile(backend="tensorrt_llm", precision="bf16", build=True),
            "jetson_orin",
            "tensorrt_llm is not built for ",
        ),
        (
            Profile(backend="nim", compute_capability="8.9"),
            "a100_sxm_80gb",
            "needs compute capability 8.9, A100-SXM4-80GB has 8.0",
        ),
        (listed(), "v100_sxm_16gb", "vllm needs compute capability 7.5, Tesla V100-SXM2-16GB has"),
    ],
)
def test_a_precision_that_a_gpu_lacks_is_named(profile: Profile, key: str, reason: str) -> None:
    found = judge(profile, host(key))
    assert found.fit is Fit.INCOMPATIBLE
    assert found.reasons[0].startswith(reason)


def test_a_ready_engine_for_the_gpu_is_not_questioned() -> None:
    odd = listed("tensorrt_llm", precision="fp8", gpu="a100")
    assert judge(odd, host("a100_sxm_80gb")).fit is Fit.COMPATIBLE


# How many.


def test_a_mixed_host_says_what_it_has() -> None:
    rtx = host("h100_sxm", "gtx_1650")
    found = judge(changed(VLLM, tp=2), rtx)
    assert found.fit is Fit.INCOMPATIBLE
    assert found.reasons == (
        "needs 2 identical GPUs, this host has 1 H100 80GB HBM3 and 1 GTX 1650",
    )
    assert judge(VLLM, rtx).gpus[0].key == "h100_sxm"


def test_gpus_are_taken_from_the_largest_group_that_suits() -> None:
    mixed = host("rtx_3060", "h100_sxm", "h100_sxm", "rtx_3060", "rtx_3060")
    found = judge(changed(VLLM, tp=2), mixed, LLAMA_8B)
    assert [one.key for one in found.gpus] == ["h100_sxm", "h100_sxm"]


def test_pipeline_parallelism_counts_as_well() -> None:
    four = changed(VLLM, tp=2, pp=2)
    assert judge(four, host(*["l40s"] * 3)).fit is Fit.INCOMPATIBLE
    assert judge(four, host(*["l40s"] * 4)).fit is Fit.COMPATIBLE


def test_a_host_without_gpu_says_so() -> None:
    assert judge(VLLM, host()).reasons == ("needs an NVIDIA GPU, this host has no NVIDIA GPU",)
    assert judge(ENGINE, host()).reasons == ("made for h100_sxm, this host has no NVIDIA GPU",)


def test_tensor_parallelism_that_does_not_divide_the_heads_is_refused() -> None:
    fourteen = msgspec.structs.replace(LLAMA_8B, heads=14, kv_heads=2)
    found = judge(changed(VLLM, tp=4), host(*["l40s"] * 4), fourteen)
    assert found.reasons == ("tp 4 does not divide 14 heads",)


def mig(index: int, uuid: str) -> Gpu:
    size = 40 * GIB
    return gpu(
        "h100_sxm",
        index,
        mig_profile="3g.40gb",
        uuid=uuid,
        memory_total_bytes=size,
        memory_free_bytes=size,
    )


def test_mig_slices_are_gpus_for_one_process_each() -> None:
    slices = host(mig(0, "MIG-a"), mig(0, "MIG-b"))
    assert judge(VLLM, slices, LLAMA_8B).fit is Fit.COMPATIBLE
    assert judge(changed(VLLM, tp=2), slices, LLAMA_8B).reasons == (
        "needs 2 GPUs, and a process sees only one MIG slice",
    )
    # What is made for the whole GPU does not fit a slice.
    assert judge(ENGINE, slices).fit is Fit.INCOMPATIBLE


def test_gpus_that_nvlink_joins_go_together() -> None:
    pairs = {0: (1,), 1: (0,), 2: (3,), 3: (2,)}
    gpus = [
        gpu("a40", index, used_gib=8 if index == 0 else 0, nvlink_peers=peers)
        for index, peers in pairs.items()
    ]
    found = judge(changed(VLLM, tp=2), host(*gpus), LLAMA_8B)
    assert [one.index for one in found.gpus] == [2, 3]


# How much memory.


def test_the_context_that_would_fit_is_named() -> None:
    small = Judge(
        host(gpu("rtx_4090", used_gib=6)),
        architecture=LLAMA_8B,
        capacity=CapacityWish(max_model_len=32768),
    )
    found = small.judge(VLLM)
    assert found.fit is Fit.LOW_MEMORY
    assert found.memory is not None
    fitting = found.memory.fitting_context
    assert found.reasons[0].startswith(f"short of 3.1 GiB: --max-model-len {fitting} would fit (")
    asked = Judge(
        host(gpu("rtx_4090", used_gib=6)),
        architecture=LLAMA_8B,
        capacity=CapacityWish(max_model_len=fitting),
    )
    assert asked.judge(VLLM).fit is Fit.COMPATIBLE


def test_where_no_context_fits_the_gpus_that_would_hold_it_are_counted() -> None:
    found = judge(changed(VLLM, precision="fp8"), host("rtx_4090"), LLAMA_70B)
    assert found.fit is Fit.LOW_MEMORY
    assert found.reasons[0].startswith("short of 48.8 GiB: 4 such GPUs would hold it (")


def test_more_slices_hold_no_more_for_one_process() -> None:
    slice_ = Judge(planned_host(["h100_sxm,mig=1g.10gb:2"]), architecture=LLAMA_8B).judge(VLLM)
    assert slice_.fit is Fit.LOW_MEMORY
    assert ": a larger MIG slice, or the whole GPU (" in slice_.reasons[0]


def test_free_memory_counts_not_the_cards() -> None:
    assert judge(VLLM, host(gpu("h100_sxm")), LLAMA_8B).fit is Fit.COMPATIBLE
    busy = judge(VLLM, host(gpu("h100_sxm", used_gib=70)), LLAMA_8B)
    assert busy.fit is Fit.LOW_MEMORY
    # With another one idle, that is taken.
    found = judge(VLLM, host(gpu("h100_sxm", 0, used_gib=70), gpu("h100_sxm", 1)), LLAMA_8B)
    assert [one.index for one in found.gpus] == [1]


def test_a_model_that_fits_barely_says_so() -> None:
    found = judge(changed(VLLM, precision="fp8"), host("h100_sxm"), LLAMA_70B)
    assert found.fit is Fit.COMPATIBLE
    assert found.memory is not None
    assert found.memory.grade is Grade.TIGHT
    assert found.reasons == (f"tight: room for {found.memory.kv_tokens:,} tokens in the KV cache",)


def test_memory_that_the_gpu_shares_is_the_hosts() -> None:
    assert judge(VLLM, host("gb10", memory_gib=100), LLAMA_8B).fit is Fit.COMPATIBLE
    assert judge(VLLM, host("gb10", memory_gib=12), LLAMA_8B).fit is Fit.LOW_MEMORY


def test_what_a_profile_states_is_what_counts() -> None:
    asks = listed(precision="bf16", gpu_memory_bytes=24 * 10**9)
    assert judge(asks, host("rtx_4090")).fit is Fit.COMPATIBLE
    # A desktop on it does not matter as long as it leaves enough.
    assert judge(asks, host(gpu("rtx_4090", used_gib=1.5))).fit is Fit.COMPATIBLE
    found = judge(asks, host("rtx_3060"))
    assert found.fit is Fit.LOW_MEMORY
    assert found.reasons == (
        "short of 10.4 GiB (needs 22.4 GiB of each GPU, RTX 3060 has 12.0 GiB free)",
    )


@pytest.mark.parametrize(
    ("used", "fit"), [(0.01, Fit.COMPATIBLE), (0.03, Fit.COMPATIBLE), (0.07, Fit.LOW_MEMORY)]
)
def test_a_nim_that_states_no_memory_wants_an_idle_gpu(used: float, fit: Fit) -> None:
    # NIM 1.0 printed 1 to 3 % as free and 7 % as non-free.
    found = judge(listed(precision="fp16"), host(gpu("a10", used_gib=22.5 * used)))
    assert found.fit is fit


def test_a_busy_gpu_is_named_with_how_much_of_it_is_in_use() -> None:
    found = judge(listed(precision="fp16"), host(gpu("a10", used_gib=19.1)))
    assert found.reasons == ("needs an idle GPU: 85 % of the memory of A10 is in use",)


def test_speech_nims_do_not_look_at_memory() -> None:
    profile = listed("triton", {"model_type": "prebuilt"}, gpu_device="20b2")
    assert judge(profile, host(gpu("a100_sxm_80gb", used_gib=76))).fit is Fit.COMPATIBLE


def test_a_nim_that_chooses_by_itself_is_reckoned_on_as_few_gpus_as_hold_it() -> None:
    nim = Profile(backend="nim")
    found = judge(nim, host(*["h100_sxm"] * 4), LLAMA_70B)
    assert (found.fit, len(found.gpus)) == (Fit.COMPATIBLE, 1)
    wide = judge(nim, host(*["a100_sxm_80gb"] * 4), LLAMA_70B)
    assert (wide.fit, len(wide.gpus)) == (Fit.COMPATIBLE, 2)
    small = judge(nim, host("rtx_4090"), LLAMA_70B)
    assert small.fit is Fit.LOW_MEMORY
    assert small.reasons[0].startswith(
        "reckoned in fp8 on 1 of them: short of 48.8 GiB: 4 such GPUs would hold it"
    )
    # What the catalogue states goes before.
    stated = changed(nim, gpu_memory_bytes=20 * GIB)
    assert judge(stated, host("rtx_4090"), LLAMA_70B).fit is Fit.COMPATIBLE


# The processor.


def test_the_four_classes_on_the_processor() -> None:
    on = host(memory_gib=12)
    assert judge(Q8, on, LLAMA_8B).fit is Fit.COMPATIBLE
    assert judge(F16, host(memory_gib=24), LLAMA_8B).fit is Fit.BUILDABLE
    built = Judge(host(memory_gib=24), architecture=LLAMA_8B).judge(F16, cached=True)
    assert (built.fit, built.reasons) == (Fit.COMPATIBLE, ("the engine is in the store",))
    low = judge(F16, on, LLAMA_8B)
    assert low.fit is Fit.LOW_MEMORY
    assert low.reasons[0].startswith("short of ")
    less = host(memory_gib=9.5)
    assert (
        ": --max-model-len "
        in judge(Q8, less, LLAMA_8B, capacity=CapacityWish(max_model_len=65536)).reasons[0]
    )


def test_a_processor_without_the_instructions_is_named() -> None:
    old = msgspec.structs.replace(host(), cpu=msgspec.structs.replace(CPU, features=("fma",)))
    found = judge(Q8, old)
    assert found.fit is Fit.INCOMPATIBLE
    assert found.reasons == ("llama_cpp needs a CPU with avx2, f16c, bmi2; Test CPU has none",)


def test_the_checks_tell_all_that_was_asked() -> None:
    checks = Judge(host("h100_sxm", "h100_sxm"), architecture=LLAMA_8B).checks(
        changed(ENGINE, tp=2)
    )
    assert [(check.name, check.passed) for check in checks] == [
        ("GPU", True),
        ("precision", True),
        ("tensor parallelism", True),
        ("count", True),
        ("memory", True),
    ]
    assert checks[3].words == "takes 2 of 2 H100 80GB HBM3"


# What holds for all of them.


def renumbered(several: list[Gpu]) -> list[Gpu]:
    return [
        msgspec.structs.replace(one, index=index, uuid=f"GPU-{index}")
        for index, one in enumerate(several)
    ]


keys = st.sampled_from(["h100_sxm", "h100_nvl", "a100_sxm_80gb", "l40s", "rtx_4090", "t4", "gb10"])
gpus = st.builds(
    gpu,
    keys,
    st.integers(0, 7),
    used_gib=st.sampled_from([0, 0.2, 3, 12]),
    drives_display=st.booleans(),
)
hosts = st.lists(gpus, max_size=5).map(renumbered)
models = st.sampled_from([None, LLAMA_8B, LLAMA_70B])
profiles = st.builds(
    Profile,
    backend=st.sampled_from(["tensorrt_llm", "vllm", "nim"]),
    precision=st.sampled_from([None, "fp8", "bf16", "int4_awq"]),
    tp=st.sampled_from([1, 2, 4]),
    pp=st.sampled_from([1, 2]),
    build=st.booleans(),
    gpu=st.none() | keys,
    gpu_memory_bytes=st.none() | st.integers(0, 100 * GIB),
    compute_capability=st.sampled_from([None, "8.0", "9.0"]),
    entry=st.sampled_from([None, ManifestEntry(id="1", name="n", tags={})]),
)
ORDER = list(Fit)


@given(profiles, hosts, gpus, models)
def test_another_gpu_never_makes_a_profile_less_fit(
    profile: Profile, there: list[Gpu], more: Gpu, model: Architecture | None
) -> None:
    before = judge(profile, host(*there), model).fit
    after = judge(profile, host(*renumbered([*there, more])), model).fit
    assert ORDER.index(after) <= ORDER.index(before)


@given(profiles, hosts, models, st.data())
def test_a_profile_that_needs_more_is_never_fitter(
    profile: Profile, there: list[Gpu], model: Architecture | None, data: st.DataObject
) -> None:
    more = data.draw(
        st.sampled_from(
            [
                changed(profile, gpu_count=profile.gpus_needed + 1),
                changed(profile, gpu_memory_bytes=(profile.gpu_memory_bytes or 0) + 10 * GIB)
                if profile.gpu_memory_bytes is not None
                else profile,
                changed(profile, compute_capability="9.0"),
                changed(profile, gpu="h100_sxm") if profile.gpu is None else profile,
            ]
        )
    )
    on = host(*there)
    if profile.entry is not None and more.gpu != profile.gpu:
        # An engine of a manifest that is bound to the GPU is not asked for its precision.
        more = changed(more, entry=None)
        profile = changed(profile, entry=None)
    less_fit, more_fit = (judge(one, on, model).fit for one in (profile, more))
    assert ORDER.index(less_fit) <= ORDER.index(more_fit)


@given(profiles, hosts, st.sampled_from([LLAMA_8B, LLAMA_70B]), st.integers(1, 100_000))
def test_a_longer_context_is_never_fitter(
    profile: Profile, there: list[Gpu], model: Architecture, length: int
) -> None:
    fits = [
        judge(profile, host(*there), model, capacity=CapacityWish(max_model_len=asked)).fit
        for asked in (length, length + 4096)
    ]
    assert ORDER.index(fits[0]) <= ORDER.index(fits[1])


@given(profiles, hosts, st.sampled_from([LLAMA_8B, LLAMA_70B]))
def test_no_gpu_is_given_more_than_it_has_free(
    profile: Profile, there: list[Gpu], model: Architecture
) -> None:
    on = host(*there)
    found = judge(profile, on, model)
    if not found.runs or found.memory is None or profile.gpu_memory_bytes is not None:
        return
    # An LLM's NIM divides the model over as many as hold it.
    chooses = profile.backend == "nim" and profile.entry is None
    count = len({one.uuid for one in found.gpus})
    assert count >= profile.gpus_needed if chooses else count == profile.gpus_needed
    for one in found.gpus:
        free = on.memory_available_bytes if one.unified_memory else one.memory_free_bytes
        assert free is not None
        assert found.memory.total_bytes <= free


@given(profiles, hosts, models, st.randoms())
def test_the_order_of_the_gpus_never_matters(
    profile: Profile, there: list[Gpu], model: Architecture | None, random: Any
) -> None:
    shuffled = list(there)
    random.shuffle(shuffled)
    assert judge(profile, host(*shuffled), model) == judge(profile, host(*there), model)


def test_a_slice_is_named_once() -> None:
    piece = gpu("a100_sxm_80gb", mig_profile="1g.10gb", name="NVIDIA A100-SXM4-80GB MIG 1g.10gb")
    assert short_name(piece) == "A100-SXM4-80GB MIG 1g.10gb"


def test_a_built_engines_kv_cache_counts_as_it_is() -> None:
    one = changed(F16, backend="tensorrt_llm", precision="fp8", build=True)
    usual = judge(one, host("h100_sxm"), LLAMA_8B)
    wide = judge(one, host("h100_sxm"), LLAMA_8B, kv_caches={one.id: "auto"})
    assert usual.memory is not None
    assert wide.memory is not None
    assert wide.memory.kv_bytes_per_token == 2 * usual.memory.kv_bytes_per_token
