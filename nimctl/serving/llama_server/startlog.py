"""Why llama.cpp did not start: its API says nothing, its log does."""

import os
import stat
from pathlib import Path

_STDERR = 2


def position() -> int:
    """Where the log ends at present."""
    return os.fstat(_STDERR).st_size


def first_error(since: int) -> str | None:
    """The first error in the log after `since`, if the log is a file that can be read.

    The first is the cause; those after it tell what failed in consequence.
    """
    if not stat.S_ISREG(os.fstat(_STDERR).st_mode):
        return None
    try:
        log = Path(f"/proc/self/fd/{_STDERR}").read_bytes()[since:]
    except OSError:
        return None
    # A line is: time, level (E), component and function, colon, message.
    for line in log.decode(errors="replace").splitlines():
        _time, level, entry = line.partition(" E ")
        if level:
            return entry.partition(": ")[2]
    return None
