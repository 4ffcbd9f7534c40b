"""Regular expressions of manifests: found, refused, and stopped when they never end."""

import sys
from collections.abc import Iterable

from nimctl.core.product_patterns import PatternResult
from nimctl.manifests.patterns import try_patterns

NAMES = ["NVIDIA A10", "NVIDIA A10G", "NVIDIA A100-SXM4-80GB", "NVIDIA L4", "NVIDIA L40S"]
ENDLESS = "^(([A-Za-z0-9 ])+)+$"
VICTIM = "NVIDIA" + "A" * 60 + "!"


def tried(
    patterns: Iterable[str], names: Iterable[str] = NAMES, limit_s: float = 1.0
) -> dict[str, PatternResult]:
    return try_patterns(patterns, names, python=sys.executable, limit_s=limit_s)


def test_patterns_with_look_ahead_mean_gpus_in_either_spelling() -> None:
    found = tried(["^NVIDIA-A10(?!0).*", "^NVIDIA-L4(?!0S).*", "^NVIDIA A100", "H100", "(?i)l40"])
    assert {pattern: sorted(result.names) for pattern, result in found.items()} == {
        "^NVIDIA-A10(?!0).*": ["NVIDIA A10", "NVIDIA A10G"],
        "^NVIDIA-L4(?!0S).*": ["NVIDIA L4"],
        "^NVIDIA A100": ["NVIDIA A100-SXM4-80GB"],
        "H100": [],
        "(?i)l40": ["NVIDIA L40S"],
    }


def test_a_pattern_that_never_ends_is_stopped_and_the_others_are_answered() -> None:
    found = tried(["L4", ENDLESS, "~last"], [*NAMES, VICTIM, "x~last"], limit_s=0.3)
    assert found[ENDLESS] == PatternResult(problem="it takes too long, and was stopped")
    assert found["L4"].names == {"NVIDIA L4", "NVIDIA L40S"}
    assert found["~last"].names == {"x~last"}


def test_after_a_few_of_these_the_rest_is_not_tried() -> None:
    endless = [f"^(([A-Za-z0-9 ])+)+{n}$" for n in range(5)]
    found = tried(endless, [VICTIM], limit_s=0.2)
    problems = [found[pattern].problem for pattern in endless]
    assert problems == [
        *3 * ["it takes too long, and was stopped"],
        *2 * ["it was not tried, after others took too long"],
    ]


def test_what_is_no_pattern_says_so_and_means_none() -> None:
    found = tried(["(", "x" * 1001, "(" * 999, "a{99999999999999999999}"])
    assert all(result.names == frozenset() for result in found.values())
    assert "it is no valid pattern: missing )" in (found["("].problem or "")
    assert found["x" * 1001].problem == "it has more than 1000 characters"
    assert "it is no valid pattern" in (found["(" * 999].problem or "")
    assert "it is no valid pattern" in (found["a{99999999999999999999}"].problem or "")


def test_without_patterns_nothing_is_started() -> None:
    assert try_patterns([], NAMES, python="/nonexistent") == {}
