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
