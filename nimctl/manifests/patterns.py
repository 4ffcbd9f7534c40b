"""Regular expressions from strangers, tried with a time limit.

`re` cannot be interrupted: `(a+)+$` keeps a thread busy for centuries, and holds the interpreter's
lock meanwhile. Engines without backtracking, such as RE2, know no look-ahead, which NVIDIA's own
patterns have (`^NVIDIA-A10(?!0).*`). So they run in a child process, which is killed when its time
is up; it costs 20 ms and only where a manifest has patterns.
"""

import json
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from nimctl.core.product_patterns import PatternResult, spellings

_CHILD = Path(__file__).with_name("pattern_child.py")
_LONGEST_PATTERN = 1000
_TOO_LONG = f"it has more than {_LONGEST_PATTERN} characters"
_MOST_KILLED = 3
# A process that gets no processor time, such as a stopped one, is not waited for for ever.
_PATIENCE = 60


def try_patterns(
    patterns: Iterable[str], names: Iterable[str], *, python: str, limit_s: float = 1.0
) -> dict[str, PatternResult]:
    """Tell for each pattern which of these GPU names it means, in either spelling.

    All together may take `limit_s` seconds of processor time. The pattern at which they have passed
    means none, and the rest gets as much again, but not more than a few times.
    """
    wanted = sorted(set(patterns))
    spelt = {spelling: name for name in sorted(set(names)) for spelling in spellings(name)}
    results = {one: PatternResult(problem=_TOO_LONG) for one in wanted if _is_long(one)}
    waiting = [one for one in wanted if one not in results]
    killed = 0
    while waiting and killed < _MOST_KILLED:
        answers = _ask(waiting, sorted(spelt), python, limit_s)
        for pattern, answer in zip(waiting, answers, strict=False):
            results[pattern] = _result(answer, spelt)
        waiting = waiting[len(answers) :]
        if waiting:
            results[waiting.pop(0)] = PatternResult(problem="it takes too long, and was stopped")
            killed += 1
    for pattern in waiting:
        results[pattern] = PatternResult(problem="it was not tried, after others took too long")
    return results


def _is_long(pattern: str) -> bool:
    return len(pattern) > _LONGEST_PATTERN


def _ask(
    patterns: Sequence[str], names: Sequence[str], python: str, limit_s: float
) -> list[list[str] | str]:
    """The answers to the first patterns, up to the one that did not end in time."""
    document = {"patterns": patterns, "names": names, "limit_s": limit_s}
    question = json.dumps(document).encode()
    with subprocess.Popen(
        [python, "-I", "-S", str(_CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        try:
            output, _ = child.communicate(question, timeout=_PATIENCE * limit_s)
        except subprocess.TimeoutExpired:
            child.kill()
            output, _ = child.communicate()
    whole, _, _ = output.rpartition(b"\n")
    return [json.loads(line) for line in whole.splitlines()]


def _result(answer: list[str] | str, spelt: dict[str, str]) -> PatternResult:
    if isinstance(answer, str):
        return PatternResult(problem=f"it is no valid pattern: {answer}")
    return PatternResult(names=frozenset(spelt[spelling] for spelling in answer))
