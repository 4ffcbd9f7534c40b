"""Which engines go when their room is limited: those that were used least recently."""

from collections.abc import Iterable

from nimctl.core.value import Value


class Kept(Value):
    """An engine as far as its room is concerned; size in bytes, `used` an RFC 3339 time."""

    key: str
    size: int
    used: str
    in_use: bool = False


def surplus(engines: Iterable[Kept], max_bytes: int) -> tuple[str, ...]:
    """The keys of those to remove, least recently used first, so that the rest fits.

    One that is being served stays, whatever it takes.
    """
    kept = sorted(engines, key=lambda one: (one.used, one.key))
    excess = sum(one.size for one in kept) - max_bytes
    gone: list[str] = []
    for one in kept:
        if excess <= 0:
            break
        if not one.in_use:
            gone.append(one.key)
            excess -= one.size
    return tuple(gone)
