"""What a scan says about a file, and why it gave up on one."""

import io
from typing import NamedTuple

_LONGEST_NAME = 200


class Member(NamedTuple):
    """A file in an archive; reading `content` reads the archive."""

    name: str
    content: io.BufferedReader


class UnreadableError(Exception):
    """A part of a file cannot be read as what it is; the message says why."""


class LimitError(UnreadableError):
    """It can perhaps be read, but goes beyond what a scan may cost."""


def shown(name: str) -> str:
    """A name out of a file as it can be printed."""
    text = name if name.isprintable() else ascii(name)[1:-1]
    return text if len(text) <= _LONGEST_NAME else text[:_LONGEST_NAME] + "..."
