"""Runs a command that ends with whoever asked for it, even when that is killed.

    python tied.py PID COMMAND [ARGUMENT...]

`PID` is who asked. This process leads a group of its own, which it takes along. It is run by its
path, as a program that needs nothing of nimctl.
"""

import ctypes
import os
import signal
import subprocess
import sys
from types import FrameType

_PR_SET_PDEATHSIG = 1  # prctl(2), <linux/prctl.h>


def main(parent: int, argv: list[str]) -> int:
    """The command's exit status, as a shell has it."""
    signal.signal(signal.SIGUSR1, _end_group)
    # Who ends the group waits for the command, through this; a handler is not inherited by it.
    signal.signal(signal.SIGTERM, _leave_it)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1)
    if os.getppid() != parent:  # it ended before
        return 128 + signal.SIGKILL
    code = subprocess.call(argv)
    return 128 - code if code < 0 else code


def _end_group(_number: int, _frame: FrameType | None) -> None:
    os.killpg(0, signal.SIGKILL)


def _leave_it(_number: int, _frame: FrameType | None) -> None:
    """Do nothing."""


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
