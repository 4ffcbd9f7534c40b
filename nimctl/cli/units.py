"""Sizes and times in words."""

from datetime import UTC, datetime

from nimctl.core.sizes import in_words

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_ROUND_FROM = 10


def size(count: int | None) -> str:
    """Bytes in the largest binary unit that leaves one digit, with one decimal."""
    return "unknown" if count is None else in_words(count)


def about(count: int) -> str:
    """An estimate, such as `~4.6 GiB` or `~15 GiB`: fewer figures than a size that is known."""
    figure, unit = size(count).split()
    return f"~{figure if float(figure) < _ROUND_FROM else f'{float(figure):.0f}'} {unit}"


def duration(seconds: float) -> str:
    """For example `12 s`, `3 min`, `5 h`, `2 days`."""
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.0f} h"
    return f"{seconds / _DAY:.0f} days"


def moment(text: str) -> float:
    """A Unix time: so long ago (`90s`, `10m`, `2h`, `1d`), or an RFC 3339 time.

    Raises:
        ValueError: It is neither.
    """
    scale = {"s": 1, "m": _MINUTE, "h": _HOUR, "d": _DAY}.get(text[-1:])
    if scale and text[:-1].isdigit():
        return datetime.now(UTC).timestamp() - int(text[:-1]) * scale
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


def ago(moment: str) -> str:
    """How long ago an RFC 3339 time was."""
    return duration((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()) + " ago"
