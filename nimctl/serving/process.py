"""Processes that outlive the command that started them: recognised, signalled, waited for."""

import os
import signal
import time
from pathlib import Path

from nimctl.core.value import Value

# To HAProxy and to nimctl's own server: no new connections, and what runs is finished, however long
# that takes. Whoever asks sees to it that it does not take for ever.
FINISH = signal.SIGUSR1
_POLL_S = 0.02


class ProcessId(Value):
    """A process, told from a later one with the same pid by its start time (clock ticks)."""

    pid: int
    started: int | None


def identify(pid: int) -> ProcessId:
    """Name a running process."""
    return ProcessId(pid=pid, started=_start_ticks(pid))


def is_alive(process: ProcessId) -> bool:
    """Tell whether this very process still runs; a zombie does not."""
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process.started is None or _start_ticks(process.pid) == process.started


def finish(process: ProcessId, grace_s: float) -> bool:
    """Ask a server to end, and send SIGKILL after `grace_s`; True if it ended by itself."""
    if not is_alive(process):
        return True
    os.kill(process.pid, FINISH)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline:
        if not is_alive(process):
            return True
        time.sleep(_POLL_S)
    os.kill(process.pid, signal.SIGKILL)
    while is_alive(process):
        time.sleep(_POLL_S)
    return False


def memory_of(process: ProcessId) -> int | None:
    """Its resident memory in bytes, see proc(5); None where there is no /proc."""
    try:
        pages = Path(f"/proc/{process.pid}/statm").read_text(encoding="utf-8").split()[1]
    except (OSError, IndexError):
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, see proc(5); None for a zombie and where there is no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the program's name in parentheses and may hold spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])
