"""Places in a document of mappings and lists, and a stranger's text, in words."""

import re
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]

_LONGEST_SHOWN = 60
_IDENTIFIER = re.compile(r"[\w-]+", re.ASCII)


def path_text(path: Path) -> str:
    """A path of keys and indices as text: `profiles[0].tags`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _IDENTIFIER.fullmatch(step) and len(step) <= _LONGEST_SHOWN:
            text += f".{step}" if text else step
        else:
            short = _short(step)
            is_plain = short.isprintable() and not {'"', "`"} & {*short}
            text += f'["{short}"]' if is_plain else f"[{short!a}]"
    return text


def shown(text: str | None) -> str:
    """Text from a stranger, in quotes, short and printable."""
    short = _short(text or "")
    return f"`{short}`" if short.isprintable() and "`" not in short else ascii(short)


def _short(text: str) -> str:
    return f"{text[:_LONGEST_SHOWN]}…" if len(text) > _LONGEST_SHOWN else text
