"""What NIM containers were seen to print and to take, against the rules.

Rows that no rule explains are listed below, each with its reason; the code knows none of them.
"""

from typing import Any

import pytest
from nim_listings import CLASSES, LISTINGS, host_of, profile_in, tags_of

from nimctl.core.choice import choose
from nimctl.core.fit import Judge, engines_for
from nimctl.core.machine import Host
from nimctl.core.orders import NIM_ORDER, rank
from nimctl.core.profile import Candidate, Fit, Profile, Wish

BY_ID = {listing["id"]: listing for listing in LISTINGS}
# Riva lists what it would build among what is compatible.
ALLOWED = {
    "compatible": {Fit.COMPATIBLE},
    "compatible_lora": {Fit.COMPATIBLE},
    "low_memory": {Fit.LOW_MEMORY},
    "low_memory_lora": {Fit.LOW_MEMORY},
    "compilable": {Fit.BUILDABLE},
    "incompatible": {Fit.INCOMPATIBLE},
}

_MIXED = (
    "NIM lists nothing as compatible on a mixed host, not even what needs one GPU; nimctl takes "
    "the group of GPUs that suits, and so does NIM once it is shown that one alone"
)
_UNEXPLAINED = (
    "the listing is partial; a row with the same tags but `mode: all` and a name is compatible, so "
    "an engine in this mode is probably among the rows that are not shown"
)
# Rows: (listing, id of the profile) and why the rules say otherwise.
ODD_ROWS = {
    **{
        ("llama-3.2-1b-1.8.4-RTX6000Ada+T600-heterogeneous", id_): _MIXED
        for id_ in (
            "4f904d571fe60ff24695b5ee2aa42da58cb460787a968f1e8a09f5a7e862728d",
            "f749ba07aade1d9e1c36ca1b4d0b67949122bd825e8aa6a52909115888a34b95",
            "ac34857f8dcbd174ad524974248f2faf271bd2a0355643b2cf1490d0fe7787c2",
            "7b8458eb682edb0d2a48b4019b098ba0bfbc4377aadeeaa11b346c63c7adf724",
        )
    },
    (
        "parakeet-0.6b-ctc-H100PCIe-docs",
        "0cc6046cfea9c48e4a3da9dae93047e86fe078382347c2cd7a70ccf0ffb15b3d",
    ): _UNEXPLAINED,
}
# Choices: the multi-LLM image takes vllm although TensorRT-LLM goes first by its own documents, and
# then fails in bf16 (https://github.com/NVIDIA-AI-Blueprints/bring-llms-to-nim/issues/7).
ODD_CHOICES = {"multi-llm-qwen2.5-0.5b-2gpu-cc<8"}


def rows(listing: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(name, row) for name in CLASSES for row in listing.get(name) or ()]


def judged(listing: dict[str, Any], machine: Host | None = None) -> dict[str, Candidate]:
    profiles = [profile_in(row) for _, row in rows(listing)]
    judge = Judge(machine or host_of(listing), covered=engines_for(profiles))
    return {profile.id: judge.judge(profile) for profile in profiles}


ROWS = [
    pytest.param(listing["id"], name, row["id"], id=f"{listing['id']}-{name}-{row['id'][:8]}")
    for listing in LISTINGS
    for name, row in rows(listing)
]


@pytest.mark.parametrize(("listing", "name", "id_"), ROWS)
def test_each_row_is_in_the_class_that_nim_printed(listing: str, name: str, id_: str) -> None:
    found = judged(BY_ID[listing])[id_]
    allowed = ALLOWED[name]
    if BY_ID[listing].get("family") == "riva" and name == "compatible":
        allowed = allowed | {Fit.BUILDABLE}
    agrees = found.fit in allowed
    # An odd row that agrees after all is to be taken off the list.
    assert agrees is ((listing, id_) not in ODD_ROWS), (found.fit, found.reasons)
    if name.endswith("_lora"):
        assert found.profile.lora


def test_there_are_as_many_rows_as_were_recorded() -> None:
    assert len(ROWS) == 109


@pytest.mark.parametrize(
    "listing", [one for one in LISTINGS if one.get("expected_selected")], ids=lambda one: one["id"]
)
def test_the_choice_is_the_one_that_nim_made_or_documents(listing: dict[str, Any]) -> None:
    chosen = choose(judged(listing).values(), Wish(), NIM_ORDER)
    assert chosen is not None
    agrees = chosen.candidate.profile.id == listing["expected_selected"]
    assert agrees is (listing["id"] not in ODD_CHOICES)


@pytest.mark.parametrize("name", ["compatible", "compatible_lora", "incompatible"])
@pytest.mark.parametrize(
    "listing",
    [one for one in LISTINGS if one["id"].startswith(("llama3-8b-1.0.3-2x", "llama-3.1-8b"))],
    ids=lambda one: one["id"],
)
def test_complete_lists_are_in_the_order_that_nim_printed(
    listing: dict[str, Any], name: str
) -> None:
    printed = [row["id"] for row in listing[name]]
    candidates = judged(listing)
    assert [one.profile.id for one in rank([candidates[id_] for id_ in printed], NIM_ORDER)] == (
        printed
    )


def test_on_the_gpu_that_suits_alone_a_mixed_host_has_what_nim_then_took() -> None:
    listing = BY_ID["llama-3.2-1b-1.8.4-RTX6000Ada+T600-heterogeneous"]
    candidates = judged(listing, host_of(listing, 0)).values()
    running = [one for one in candidates if one.runs and not one.profile.lora]
    assert len(running) == listing["followup"]["detected"]
    chosen = choose(candidates, Wish(), NIM_ORDER)
    assert chosen is not None
    assert chosen.candidate.profile.id == listing["followup"]["selected"]


def test_on_an_unlisted_gpu_what_can_be_built_goes_before_vllm() -> None:
    listing = BY_ID["nemotron-nano-4b-1.8.5-T4-buildable"]
    names = (listing["expected_selected_name"], "vllm-bf16-tp1-pp1", "vllm-fp16-tp1-pp1")
    judge = Judge(host_of(listing))
    candidates = [judge.judge(profile_in({"name": name})) for name in names]
    chosen = choose(candidates, Wish(), NIM_ORDER)
    assert chosen is not None
    assert chosen.candidate.profile.name == names[0]


def test_names_are_read_into_tags() -> None:
    assert tags_of("tensorrt_llm-a100_sxm4_40gb-bf16-tp1-pp1-throughput-lora-lora") == {
        "llm_engine": "tensorrt_llm",
        "gpu": "a100_sxm4_40gb",
        "precision": "bf16",
        "tp": "1",
        "pp": "1",
        "profile": "throughput",
        "feat_lora": "true",
    }
    assert isinstance(profile_in({"name": "vllm"}), Profile)
