"""How a serving process ends: it finishes the requests that run and exits.

xllamacpp's destructor hangs while requests run, so that every way out is `os._exit`.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

import xllamacpp

from nimctl.serving.llama_server import sockets

# Whoever sends SIGUSR1 sees to it how long that takes.
_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_POLL_S = 0.02
# Between a request's last token and its last byte on the socket, which nothing reports.
_SETTLE_S = 0.5
_PARENT_POLL_S = 1.0
_PR_SET_PDEATHSIG = 1  # prctl(2), <linux/prctl.h>


class Stopper:
    """Ends the process after a signal N: with 0, or with 128 + N at once when it comes again.

    The requests that run are finished, after SIGTERM and SIGINT for `grace_s` at most.
    """

    def __init__(self, *, grace_s: float) -> None:
        self._grace_s = grace_s
        self._server: xllamacpp.Server | None = None

    def watch(self) -> None:
        """Begin to wait for signals; to be called before any other thread starts.

        Threads inherit the blocked signals, so one thread alone receives them, at any time, also
        while the model is loaded.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
        _start(self._wait)

    def serving(self, server: xllamacpp.Server) -> None:
        """From now on there may be requests to finish."""
        self._server = server

    def _wait(self) -> None:
        asked = signal.sigwait(_STOP)
        _start(partial(self._finish, None if asked == signal.SIGUSR1 else self._grace_s))
        seen = {asked}
        # Ctrl-C in a terminal is one SIGINT, and one SIGTERM from a parent that hears it, too.
        while (again := signal.sigwait(_STOP)) not in seen:
            seen.add(again)
        _exit(128 + again)

    def _finish(self, grace_s: float | None) -> None:
        if self._server is not None:
            if grace_s is not None:
                _start(partial(_cut_off, grace_s))
            drain(self._server)
        _exit(0)


def drain(server: xllamacpp.Server) -> None:
    """Refuse new connections, then wait until no request runs or waits for a slot.

    Connections that are open may go on with further requests meanwhile. Outside of Linux, so may
    new ones.
    """
    sockets.refuse_connections()
    idle_since: float | None = None
    while True:
        now = time.monotonic()
        if unfinished(server.handle_metrics()):
            idle_since = None
        elif not sockets.connected():
            return
        elif idle_since is None:
            idle_since = now
        elif now - idle_since > _SETTLE_S:
            return
        time.sleep(_POLL_S)


def unfinished(metrics: str) -> int:
    """How many requests have a slot or wait for one, according to the text of `/metrics`."""
    gauges = ("llamacpp:requests_processing ", "llamacpp:requests_deferred ")
    return sum(
        int(line.rpartition(" ")[2]) for line in metrics.splitlines() if line.startswith(gauges)
    )


def die_with_parent(pid: int) -> None:
    """Have this process stop as on SIGTERM when its parent `pid` ends, even by SIGKILL.

    Linux sends the signal when the thread that started this process ends, so that has to be a
    thread that lives as long as the parent (prctl(2)).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != pid:  # it ended before
            os.kill(os.getpid(), signal.SIGTERM)
    else:
        _start(lambda: _follow(pid))


def _follow(pid: int) -> None:
    while os.getppid() == pid:
        time.sleep(_PARENT_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)


def _cut_off(grace_s: float) -> None:
    time.sleep(grace_s)
    sys.stderr.write(f"cut off requests that ran longer than {grace_s:g} s\n")
    _exit(0)


def _start(target: Callable[[], None]) -> None:
    threading.Thread(target=target, daemon=True).start()


def _exit(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
