"""Programs that may never answer: they are given a deadline and abandoned after it."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence

from nimctl.core.value import Value

_REAP_S = 0.5
# A process inside a hanging driver cannot be killed; it is kept here so that nothing waits for it.
_abandoned: list[subprocess.Popen[str]] = []


class Answer(Value):
    """What a program said; `code` is None when it gave none in time, or could not be started."""

    out: str = ""
    err: str = ""
    code: int | None = None
    late: bool = False


def ask(argv: Sequence[str], *, timeout_s: float) -> Answer:
    """Run a program without input and collect its output; never longer than `timeout_s`."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        return Answer(err=str(error))
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return Answer(late=True)
    finally:
        if process.returncode is None:
            _abandon(process)
    return Answer(out=out, err=err, code=process.returncode)


def _abandon(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(_REAP_S)
    except subprocess.TimeoutExpired:
        _abandoned.append(process)
