"""Waiting for what must come."""

import subprocess
import time
from collections.abc import Callable


def until(condition: Callable[[], bool]) -> None:
    """Wait for what must come; the limit is for a hung test only."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError(condition)


def until_it_says(child: "subprocess.Popen[str]", text: str) -> None:
    """Read its messages until one has this text."""
    assert child.stderr is not None
    for line in child.stderr:
        if text in line:
            return
    raise AssertionError(f"it ended without saying {text}")
