"""Which profile is taken: the two orders, what narrows them, and the reasons."""

from random import Random
from typing import Any

import msgspec
import pytest
from architectures import LLAMA_8B, LLAMA_70B
from hypothesis import given
from hypothesis import strategies as st
from machines import gpu, host

from nimctl.core.architecture import Architecture
from nimctl.core.catalogue import Model, Variant
from nimctl.core.choice import choose, matching
from nimctl.core.errors import NotFoundError, UsageError
from nimctl.core.fit import Judge
from nimctl.core.gpus import by_key
from nimctl.core.machine import Host
from nimctl.core.memory import Grade, MemoryNeed
from nimctl.core.orders import CATALOGUE_ORDER, NIM_ORDER, Order, rank, why_after
from nimctl.core.profile import Candidate, Fit, ManifestEntry, Profile, Wish
from nimctl.core.variants import profiles_of

ANY = Wish()


def candidate(backend: str = "vllm", *, cached: bool = False, **fields: Any) -> Candidate:
    fit = fields.pop("fit", Fit.COMPATIBLE)
    return Candidate(profile=Profile(backend=backend, **fields), fit=fit, cached=cached)


def names(candidates: list[Candidate]) -> list[str]:
    return [one.profile.name for one in candidates]


# NIM's order, step by step: the first of each pair goes first.
@pytest.mark.parametrize(
    ("rule", "first", "second"),
    [
        (
            "fit",
            candidate("sglang", precision="int4_awq"),
            candidate("tensorrt_llm", precision="fp8", gpu="h100", fit=Fit.LOW_MEMORY),
        ),
        (
            "engine",
            candidate("tensorrt_llm", precision="bf16", build=True, cached=True),
            candidate("tensorrt_llm", precision="fp8", gpu="h100"),
        ),
        (
            "GPU",
            candidate("vllm", precision="bf16", gpu="h100"),
            candidate("tensorrt_llm", precision="fp8"),
        ),
        (
            "backend",
            candidate("tensorrt_llm", precision="int4_awq", build=True, fit=Fit.BUILDABLE),
            candidate("vllm", precision="fp8"),
        ),
        ("backend", candidate("vllm", precision="bf16"), candidate("sglang", precision="fp8")),
        *(
            ("precision", candidate(precision=better), candidate(precision=worse, tp=8))
            for better, worse in (
                ("mxfp4", "fp8"),
                ("fp8", "int8"),
                ("int8", "fp16"),
                ("fp16", "bf16"),
                ("bf16", "int8wo"),
                ("int8wo", "nvfp4"),
                ("nvfp4", "int4_awq"),
            )
        ),
        (
            "target",
            candidate(precision="fp8", target="latency"),
            candidate(precision="fp8", target="throughput", tp=8),
        ),
        (
            "tensor parallelism",
            candidate(precision="fp8", tp=2),
            candidate(precision="fp8", tp=1),
        ),
    ],
)
def test_nims_order_is_as_documented(rule: str, first: Candidate, second: Candidate) -> None:
    assert rank([second, first], NIM_ORDER) == [first, second]
    lost = why_after(second, first, NIM_ORDER)
    assert lost is not None
    assert lost.rule == rule
    chosen = choose([second, first], ANY, NIM_ORDER)
    assert chosen is not None
    assert chosen.candidate == first


def on(machine: Host, model: Architecture, *variants: Variant) -> list[Candidate]:
    """The candidates of a model of the catalogue that has these variants."""
    keys = dict.fromkeys(one.key for one in machine.gpus if one.key)
    parts = [part for key in keys if (part := by_key(key))]
    judge = Judge(machine, architecture=model)
    llama_cpp = tuple(
        Profile(backend="llama_cpp", precision=one, source=f"hf://a/{one}")
        for one in ("q4_k_m", "q8_0")
    )
    whole = Model(name="m", title="M", architecture=model, profiles=llama_cpp, variants=variants)
    return [judge.judge(profile) for profile in profiles_of(whole, parts)]


HUB = "hf://org/model"
EVERY = (
    Variant(backend="tensorrt_llm", precisions=("nvfp4", "fp8", "bf16", "int4_awq"), source=HUB),
    Variant(
        backend="tensorrt_llm",
        precisions=("nvfp4", "fp8", "bf16", "int4_awq", "int8_sq"),
        source=HUB,
        build=True,
    ),
    Variant(backend="vllm", precisions=("nvfp4", "fp8", "bf16", "int4_awq"), source=HUB),
)


@pytest.mark.parametrize(
    ("machine", "model", "chosen"),
    [
        (["b200"], LLAMA_8B, "tensorrt_llm-b200-nvfp4-tp1-pp1-throughput-pytorch"),
        (["h100_sxm"], LLAMA_8B, "tensorrt_llm-h100_sxm-fp8-tp1-pp1-throughput-pytorch"),
        # Eight GPUs serve it eight times, not in eight parts.
        (["h100_sxm"] * 8, LLAMA_8B, "tensorrt_llm-h100_sxm-fp8-tp1-pp1-throughput-pytorch"),
        # On one it would starve; on two it does not.
        (["h100_sxm"] * 2, LLAMA_70B, "tensorrt_llm-h100_sxm-fp8-tp2-pp1-throughput-pytorch"),
        # Memory-bound: four bits rather than too few tokens.
        (["h100_sxm"], LLAMA_70B, "tensorrt_llm-h100_sxm-int4_awq-tp1-pp1-throughput-pytorch"),
        (["l4"], LLAMA_8B, "tensorrt_llm-l4-fp8-tp1-pp1-throughput-pytorch"),
        (["a100_sxm_80gb"], LLAMA_8B, "tensorrt_llm-a100_sxm_80gb-bf16-tp1-pp1-throughput-pytorch"),
        (["rtx_5090"], LLAMA_8B, "tensorrt_llm-rtx_5090-nvfp4-tp1-pp1-throughput-pytorch"),
        (["gtx_1650", "l40s"], LLAMA_8B, "tensorrt_llm-l40s-fp8-tp1-pp1-throughput-pytorch"),
        # What no GPU holds runs on the processor.
        (["gtx_1650"], LLAMA_8B, "llama_cpp-q8_0-tp1-pp1"),
        ([], LLAMA_8B, "llama_cpp-q8_0-tp1-pp1"),
    ],
)
def test_the_catalogues_order_suits_the_gpu(
    machine: list[str], model: Architecture, chosen: str
) -> None:
    found = choose(on(host(*machine, memory_gib=64), model, *EVERY), ANY, CATALOGUE_ORDER)
    assert found is not None
    assert found.candidate.profile.name == chosen


def test_low_latency_takes_the_next_degree_of_parallelism() -> None:
    candidates = on(host(*["h100_sxm"] * 8), LLAMA_8B, *EVERY)
    found = choose(candidates, Wish(target="latency", backend="tensorrt_llm"), CATALOGUE_ORDER)
    assert found is not None
    assert found.candidate.profile.name == ("tensorrt_llm-h100_sxm-fp8-tp2-pp1-latency-pytorch")


def test_an_engine_in_the_store_goes_first() -> None:
    built = candidate("tensorrt_llm", precision="bf16", gpu="h100_sxm", build=True, cached=True)
    ready = candidate("tensorrt_llm", precision="fp8", gpu="h100_sxm", runtime="pytorch")
    found = choose([ready, built], ANY, CATALOGUE_ORDER)
    assert found is not None
    assert (found.candidate, found.why) == (built, "store: in the store before not in it")


def test_what_serve_cannot_build_comes_after_what_it_can() -> None:
    quantised = candidate("tensorrt_llm", precision="fp8", gpu="h100_sxm", build=True)
    plain = candidate("vllm", precision="bf16")
    q8 = candidate("llama_cpp", precision="q8_0", cached=True)
    assert rank([quantised, q8, plain], CATALOGUE_ORDER) == [plain, quantised, q8]
    found = choose([quantised, plain], ANY, CATALOGUE_ORDER)
    assert found is not None
    assert found.why == "texts: without them before quantised with texts"
    built = msgspec.structs.replace(quantised, cached=True)
    assert rank([plain, built], CATALOGUE_ORDER) == [built, plain]


def test_a_gguf_file_goes_before_what_must_be_built_and_four_bits_last() -> None:
    q8, q4 = (candidate("llama_cpp", precision=one) for one in ("q8_0", "q4_k_m"))
    f16 = candidate("llama_cpp", precision="f16", build=True, fit=Fit.BUILDABLE)
    assert rank([f16, q4, q8], CATALOGUE_ORDER) == [q8, q4, f16]
    built = msgspec.structs.replace(f16, cached=True, fit=Fit.COMPATIBLE)
    assert rank([q8, q4, built], CATALOGUE_ORDER)[0] == built


def test_the_processor_comes_after_every_gpu() -> None:
    starved = MemoryNeed(
        weights_bytes=1, kv_cache_bytes=1, compute_bytes=1, runtime_bytes=1, grade=Grade.TIGHT
    )
    tight = msgspec.structs.replace(candidate("sglang", precision="int4"), memory=starved)
    stored = candidate("llama_cpp", precision="q8_0", cached=True)
    assert rank([stored, tight], CATALOGUE_ORDER) == [tight, stored]


def test_nothing_is_chosen_where_nothing_runs() -> None:
    assert choose([candidate(precision="fp8", fit=Fit.INCOMPATIBLE)], ANY, NIM_ORDER) is None


def test_the_choice_says_why() -> None:
    fp8, bf16 = candidate(precision="fp8"), candidate(precision="bf16")
    first = choose([bf16, fp8], ANY, NIM_ORDER)
    only = choose([bf16], ANY, NIM_ORDER)
    asked = choose([bf16, fp8], Wish(profile=bf16.profile.id), NIM_ORDER)
    assert first is not None
    assert only is not None
    assert asked is not None
    assert first.why == "precision: fp8 before bf16"
    assert only.why == "no other runs here"
    alike = choose([bf16, candidate(precision="bf16", pp=2)], ANY, NIM_ORDER)
    assert alike is not None
    assert alike.why == "the first by name, for no rule prefers another"
    assert (asked.candidate, asked.why) == (bf16, "it was asked for")


# What was asked for.

MIXED = [
    candidate("tensorrt_llm", precision="fp8", gpu="h100", target="latency", tp=2),
    candidate("tensorrt_llm", precision="fp8", gpu="h100", target="throughput"),
    candidate("vllm", precision="bf16"),
    candidate("vllm", precision="bf16", lora=True),
]


@pytest.mark.parametrize(
    ("wish", "kept"),
    [
        (Wish(backend="vllm"), ["vllm-bf16-tp1-pp1"]),
        (Wish(precision="bf16"), ["vllm-bf16-tp1-pp1"]),
        (
            Wish(target="throughput"),
            ["tensorrt_llm-h100-fp8-tp1-pp1-throughput", "vllm-bf16-tp1-pp1"],
        ),
        (Wish(tags={"gpu": "H100", "tp": "2"}), ["tensorrt_llm-h100-fp8-tp2-pp1-latency"]),
        (Wish(gpus=2), ["tensorrt_llm-h100-fp8-tp2-pp1-latency"]),
        (Wish(lora=True), ["vllm-bf16-tp1-pp1", "vllm-bf16-tp1-pp1-lora"]),
        (Wish(profile="vllm-bf16-tp1-pp1-lora"), ["vllm-bf16-tp1-pp1-lora"]),
        (Wish(profile=MIXED[2].profile.id), ["vllm-bf16-tp1-pp1"]),
        (Wish(profile=MIXED[2].profile.id[:8]), ["vllm-bf16-tp1-pp1"]),
        (
            Wish(profile=f"{MIXED[3].profile.id} ({MIXED[3].profile.name})"),
            ["vllm-bf16-tp1-pp1-lora"],
        ),
    ],
)
def test_a_wish_narrows_the_choice(wish: Wish, kept: list[str]) -> None:
    assert names(matching(MIXED, wish, NIM_ORDER)) == kept


def test_a_named_profile_that_does_not_run_is_kept_for_its_reasons() -> None:
    far = candidate(precision="fp8", fit=Fit.INCOMPATIBLE)
    assert matching([*MIXED, far], Wish(profile=far.profile.name), NIM_ORDER) == [far]


@pytest.mark.parametrize(
    ("wish", "kind", "message", "cause"),
    [
        (Wish(profile="nope"), NotFoundError, "there is no profile `nope`", "vllm-bf16-tp1-pp1"),
        (Wish(precision="int8"), UsageError, "no profile has precision int8", "bf16, fp8"),
        (Wish(backend="triton"), UsageError, "no profile has backend triton", "tensorrt_llm, vllm"),
        (Wish(gpus=3), UsageError, "no profile is for 3 GPUs", "1, 2"),
        (Wish(tags={"a": "b"}), UsageError, "no profile has the tags a=b", "feat_lora, gpu"),
        (
            Wish(backend="tensorrt_llm", lora=True),
            UsageError,
            "no profile serves LoRA adapters",
            "tensorrt_llm-h100",
        ),
    ],
)
def test_what_nothing_has_is_said(
    wish: Wish, kind: type[UsageError] | type[NotFoundError], message: str, cause: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        matching(MIXED, wish, NIM_ORDER)
    assert cause in str(caught.value.cause)


@pytest.mark.parametrize(
    ("wish", "message", "cause"),
    [
        (Wish(profile="vllm-bf16-tp1-pp1", precision="fp8"), "is not of precision fp8", "bf16"),
        (
            Wish(profile="vllm-bf16-tp1-pp1", backend="sglang", named_by="NIM_MODEL_PROFILE"),
            "which NIM_MODEL_PROFILE names, is not of backend sglang",
            "it has backend vllm",
        ),
        (
            Wish(profile="vllm-bf16-tp1-pp1", tags={"tp": "1", "gpu": "h100"}),
            "is not of gpu h100",
            "it has no gpu",
        ),
    ],
)
def test_a_named_profile_that_is_not_as_the_rest_of_the_wish_is_refused(
    wish: Wish, message: str, cause: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        matching(MIXED, wish, NIM_ORDER)
    assert cause in str(caught.value.cause)


def test_a_named_profile_that_is_as_the_rest_of_the_wish_is_kept() -> None:
    wish = Wish(profile="vllm-bf16-tp1-pp1", precision="bf16", target="latency", tags={"tp": "1"})
    assert names(matching(MIXED, wish, NIM_ORDER)) == ["vllm-bf16-tp1-pp1"]


def test_the_beginning_of_an_id_must_mean_one_profile() -> None:
    def entry(id_: str) -> Candidate:
        return candidate(entry=ManifestEntry(id=id_, name=f"profile {id_[-1]}", tags={}))

    twins = [entry("8b87146e39b0305a"), entry("8b87146e39b0305b"), entry("abc")]
    with pytest.raises(UsageError, match="several profiles begin with `8b87146e`"):
        matching(twins, Wish(profile="8b87146e"), NIM_ORDER)
    assert len(matching(twins, Wish(profile="8b87146e39b0305b"), NIM_ORDER)) == 1
    many = [entry(f"8b87146e{number:04}") for number in range(30)]
    with pytest.raises(UsageError) as caught:
        matching(many, Wish(profile="8b87146e"), NIM_ORDER)
    assert str(caught.value.cause).endswith("profile 7 and 22 more")
    # Ids of any form are matched whole, however short.
    assert len(matching(twins, Wish(profile="abc"), NIM_ORDER)) == 1


def test_backends_that_take_a_flag_serve_adapters_with_any_profile() -> None:
    q8 = candidate("llama_cpp", precision="q8_0")
    plain = candidate("vllm", precision="bf16")
    made = candidate("tensorrt_llm", precision="bf16", lora=True)
    engine = candidate("tensorrt_llm", precision="fp8")
    nim = candidate("vllm", precision="fp8", entry=ManifestEntry(id="1", name="n", tags={}))
    several = [q8, plain, made, engine, nim]
    assert matching(several, Wish(lora=True), CATALOGUE_ORDER) == [made, plain, q8]
    assert matching(several, ANY, CATALOGUE_ORDER) == [engine, nim, plain, q8]


# What holds for all of them.

candidates = st.builds(
    Candidate,
    profile=st.builds(
        Profile,
        backend=st.sampled_from(["tensorrt_llm", "vllm", "sglang", "llama_cpp", "nim", "other"]),
        precision=st.sampled_from([None, "fp8", "bf16", "nvfp4", "q8_0", "f16", "odd"]),
        source=st.sampled_from([None, "hf://a/b", "hf://a/c"]),
        build=st.booleans(),
        tp=st.integers(1, 4),
        target=st.sampled_from([None, "latency", "throughput"]),
        gpu=st.sampled_from([None, "h100"]),
        lora=st.booleans(),
    ),
    fit=st.sampled_from(list(Fit)),
    cached=st.booleans(),
    gpus=st.sampled_from([(), (gpu("h100_sxm"),), (gpu("a100_sxm_80gb"),)]),
)
orders = st.sampled_from([NIM_ORDER, CATALOGUE_ORDER])


@given(st.lists(candidates, max_size=8), orders, st.randoms())
def test_the_order_of_the_input_never_matters(
    several: list[Candidate], order: Order, random: Random
) -> None:
    shuffled = list(several)
    random.shuffle(shuffled)
    places = [order.key(one) for one in rank(several, order)]
    assert [order.key(one) for one in rank(shuffled, order)] == places


@given(st.lists(candidates, min_size=2, max_size=8), orders)
def test_what_comes_later_lost_by_a_rule_that_can_be_named(
    several: list[Candidate], order: Order
) -> None:
    first, *others = rank(several, order)
    for other in others:
        lost = why_after(other, first, order)
        if lost is None:  # Equal in all that counts.
            assert order.key(other) == order.key(first)
        else:
            assert lost.winner != lost.loser


@given(st.lists(candidates, max_size=8), orders)
def test_only_what_runs_is_chosen(several: list[Candidate], order: Order) -> None:
    plain = [one for one in several if not one.profile.lora]
    chosen = choose(plain, ANY, order)
    assert (chosen is None) == (not any(one.runs for one in plain))
    assert chosen is None or chosen.candidate.runs


@given(candidates, orders)
def test_an_order_has_a_place_for_each_of_its_rules(one: Candidate, order: Order) -> None:
    assert len(order.key(one)) == len(order.rules)


@given(st.lists(candidates, max_size=8), orders)
def test_each_candidate_is_looked_at_once(several: list[Candidate], order: Order) -> None:
    looked: list[Candidate] = []

    def key(one: Candidate) -> tuple[Any, ...]:
        looked.append(one)
        return order.key(one)

    rank(several, Order(order.rules, key))
    assert looked == several


def test_a_nim_that_chooses_by_itself_uses_as_many_gpus_as_it_gets() -> None:
    assert names(matching([candidate("nim")], Wish(gpus=4), NIM_ORDER)) == ["nim"]
