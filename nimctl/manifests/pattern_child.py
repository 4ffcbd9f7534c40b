"""Tries regular expressions for `patterns.py`, until its time is up. Run as a script.

stdin has one JSON document with `patterns`, `names` and `limit_s`; for each pattern, stdout gets
one line: a list of the names in which it was found, or text that says what is wrong with it.
"""

import json
import re
import resource
import signal
import sys
from typing import IO

_MEMORY_BYTES = 512 * 2**20


def main(source: IO[str], sink: IO[str]) -> None:
    """Answer one document, as far as processor time and memory go."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    asked = json.load(source)
    # Its signal ends the process also while `re` runs; and on a busy machine, waiting is no guilt.
    signal.setitimer(signal.ITIMER_PROF, asked["limit_s"])
    for pattern in asked["patterns"]:
        print(json.dumps(_try(pattern, asked["names"])), file=sink, flush=True)


def _try(pattern: str, names: list[str]) -> list[str] | str:
    try:
        compiled = re.compile(pattern)
        return [name for name in names if compiled.search(name)]
    except re.error as error:
        return str(error)
    except (MemoryError, OverflowError, RecursionError) as error:
        return type(error).__name__


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
