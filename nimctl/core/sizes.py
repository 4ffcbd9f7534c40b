"""Sizes as people write them, in bytes."""

import re

_SIZE = re.compile(r"(?i)(\d{1,18}(?:\.\d{1,3})?)\s*([kmgt]?)(?:i?b)?")
_UNITS = " kmgt"


def parse_size(text: str) -> int | None:
    """`50GiB`, `50 GB`, `50g` or bytes, in units of 1024 as all output has; None for others."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    scale: int = 1024 ** _UNITS.index(match[2].lower() or " ")
    return round(float(match[1]) * scale)


def in_words(count: int) -> str:
    """Bytes in the largest binary unit that leaves one digit, with one decimal."""
    for unit, scale in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 1 << scale:
            return f"{count / (1 << scale):.1f} {unit}"
    return f"{count} B"
