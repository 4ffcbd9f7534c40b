"""What a log says: known failures as tables of patterns, and the lines that tell most."""

import re
from collections.abc import Iterable, Sequence

from nimctl.core.value import Value

_DECISIVE_LINES = 5
_DECISIVE = re.compile(
    r"\[E\]|\bError\b|\b\w+Error:|^error: |^Traceback|\bERROR\b|\bFATAL\b|\bassert|Assertion|"
    r"Killed|out of memory|No space left",
)


class Diagnosis(Value):
    """Why it failed, what to do, and the lines that say so; `cause` is None when it is unknown."""

    cause: str | None
    hint: str | None
    lines: tuple[str, ...] = ()


class Known(Value):
    """A failure that a line of a log gives away.

    The groups of `pattern`, and `model`, can be named in braces in `cause` and `hint`.
    """

    pattern: str
    cause: str
    hint: str | None


def search(known: Iterable[Known], lines: Sequence[str], model: str) -> Diagnosis | None:
    """The first failure of the table that the log, oldest line first, shows."""
    # The order of the table decides, not that of the log: a full disk also makes tracebacks.
    for one in known:
        pattern = re.compile(one.pattern)
        for line in reversed(lines):
            if match := pattern.search(line):
                values = {"model": model, **match.groupdict()}
                return Diagnosis(
                    cause=one.cause.format(**values),
                    hint=one.hint.format(**values) if one.hint else None,
                    lines=(line.strip(),),
                )
    return None


def decisive_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """The last lines that name an error, or the last lines."""
    telling = [line.rstrip() for line in lines if _DECISIVE.search(line)]
    return tuple((telling or [line.rstrip() for line in lines if line.strip()])[-_DECISIVE_LINES:])
