"""The judge of a long manifest asks each question once, and mixes no answers up."""

from typing import Any

import pytest
from machines import GIB, host

from nimctl.core.fit import Judge
from nimctl.core.profile import Fit, ManifestEntry, Profile


def listed(**fields: Any) -> Profile:
    entry = ManifestEntry(id="id", name="name", tags={"llm_engine": "tensorrt_llm"})
    return Profile(backend="tensorrt_llm", precision="fp8", entry=entry, **fields)


def test_equal_questions_are_asked_once_a_group_of_gpus() -> None:
    asked = []

    def names_product(pattern: str, name: str) -> bool:
        asked.append((pattern, name))
        return True

    several = [
        listed(product_pattern="A", target=target, lora=lora, source=source)
        for target in ("latency", "throughput")
        for lora in (False, True)
        for source in map(str, range(100))
    ]
    one = Judge(host("h100_sxm", "h100_sxm", "l40s"), names_product=names_product)
    assert {one.judge(profile).fit for profile in several} == {Fit.COMPATIBLE}
    assert sorted(asked) == [("A", "NVIDIA H100 80GB HBM3"), ("A", "NVIDIA L40S")]


# Each differs from the first by one thing that a judge asks for.
UNLIKE = [
    listed(gpu="l40s"),
    *(
        listed(**{"gpu": "l40s", **one})
        for one in (
            {"gpu": "h100"},
            {"gpu_device": "2330:10de"},
            {"product_pattern": "NVIDIA H100 80GB HBM3"},
            {"ampere_plus": True},
            {"gpu": None},
            {"gpu": "h100", "tp": 2},
            {"gpu": "h100", "gpu_count": 2},
            {"gpu": "h100", "gpu_memory_bytes": 90 * GIB},
            {"gpu": "h100", "compute_capability": "10.0"},
            {"gpu": "h100", "build": True},
        )
    ),
]


@pytest.mark.parametrize("last", range(len(UNLIKE)))
def test_what_was_found_of_one_profile_is_not_said_of_another(last: int) -> None:
    there = host("h100_sxm")
    one = Judge(there)
    for profile in UNLIKE:
        one.judge(profile)
    assert one.judge(UNLIKE[last]) == Judge(there).judge(UNLIKE[last])
    first = Judge(there)
    first.judge(UNLIKE[0])
    assert first.judge(UNLIKE[last]) == Judge(there).judge(UNLIKE[last])
