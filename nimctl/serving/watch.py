"""Waits for a container to become a ready server, and knows at once when it cannot.

Three things are watched beside each other: the container's state, its log, and its port. A line
of the log, the end of the log and an answer of the port wake the one that decides.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterable

from nimctl.core.containers import ContainerState
from nimctl.core.errors import ContainerEngineError, NimctlError
from nimctl.core.events import Emit, Reached
from nimctl.core.plan import Await
from nimctl.core.ports import Containers, LogLines
from nimctl.core.starting import Phase, died, failure_of, hopeless, phase_of, phase_title, too_late
from nimctl.serving.probe import Probe

# The engine is asked this often, and nothing takes longer to be seen than this.
_LOOK_S = 0.25
# A server that has logged its end is given this long to end, so that its last lines are there.
_LAST_WORDS_S = 1.5
# What counts as progress while the time runs out: a line, or this much read or allocated.
_PROGRESS_BYTES = 16 * 2**20
_STALL_S = 60.0
_SAMPLE_S = 5.0
_KEPT_LINES = 400
# A start that tells of no phase for so long shows its last line, cut to what a terminal is wide.
_SILENCE_S = 30.0
_SHOWN = 100
TASK = "ready"


class _Log:
    """Follows a log on a thread of its own, and wakes whoever waits for it."""

    def __init__(self, stream: LogLines, wake: threading.Event) -> None:
        self._stream = stream
        self._wake = wake
        self._fresh: deque[str] = deque()
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        # The engine may go while it is read; whoever asks for the state finds that out as well.
        with contextlib.suppress(ContainerEngineError):
            for line in self._stream:
                self._fresh.append(line)
                self._wake.set()
        self._wake.set()

    def take(self) -> list[str]:
        """The lines that have come since the last time."""
        fresh = [self._fresh.popleft() for _ in range(len(self._fresh))]
        self.lines.extend(fresh)
        return fresh

    def finish(self, seconds: float) -> None:
        """Wait for the end of a log whose container has ended."""
        self._thread.join(seconds)
        self.take()

    def close(self) -> None:
        """Stop following."""
        self._stream.close()
        self._thread.join(_LAST_WORDS_S)


class Watch:
    """Waits for one started container."""

    def __init__(
        self, containers: Containers, step: Await, emit: Emit, *, silence_s: float = _SILENCE_S
    ) -> None:
        self._containers = containers
        self._silence_s = silence_s
        self._step = step
        self._name = step.server.name
        self._emit = emit
        self._wake = threading.Event()
        self._phase: Phase | None = None
        self._began = self._moved = self._sampled = self._told = time.monotonic()
        self._seen_bytes = 0
        self._doomed: float | None = None

    def wait(self) -> None:
        """Return when the server is ready.

        Raises:
            ServerDiedError: It ended, or cannot become ready; the cause has what its log says.
            HardwareError: Its image is for another architecture.
            DeadlineError: It is not ready in time.
            ContainerEngineError: The engine is gone.
        """
        log = _Log(self._containers.log(self._name, follow=True), self._wake)
        probe = Probe(self._step, self._wake)
        try:
            while not probe.ready:
                # Cleared before looking: what comes after that wakes the next wait.
                self._wake.clear()
                self._read(log.take())
                if failure := self._failure(log):
                    raise failure
                self._break_silence(log)
                self._wake.wait(_LOOK_S)
        finally:
            probe.close()
            log.close()

    def _failure(self, log: _Log) -> NimctlError | None:
        state = self._state()
        server = self._step.server
        if failure_of(server, state, ()):
            if state is None or not state.is_running:
                log.finish(_LAST_WORDS_S)
            # Looked at again: that it was for memory is known a moment after it has ended.
            return failure_of(server, self._state() or state, tuple(log.lines))
        now = time.monotonic()
        if self._doomed is None and hopeless(server, tuple(log.lines)):
            self._doomed = now
        if self._doomed is not None and now - self._doomed > _LAST_WORDS_S:
            return died(server, "cannot become ready", tuple(log.lines))
        if self._is_late(now):
            return too_late(server, now - self._began, tuple(log.lines))
        return None

    def _state(self) -> ContainerState | None:
        found = self._containers.container(self._name)
        return found.state if found else None

    def _read(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._moved = time.monotonic()
            phase = phase_of(self._step.server.backend, line)
            if phase and phase != self._phase:
                self._phase = phase
                self._tell(phase_title(phase))

    def _break_silence(self, log: _Log) -> None:
        """Nobody should have to guess whether a long start goes on."""
        now = time.monotonic()
        if now - self._told > self._silence_s:
            last = log.lines[-1].strip() if log.lines else "it has logged nothing yet"
            self._tell(f"{now - self._began:.0f} s so far; {last[:_SHOWN]}")

    def _tell(self, stage: str) -> None:
        self._told = time.monotonic()
        self._emit(Reached(task=TASK, stage=stage))

    def _is_late(self, now: float) -> bool:
        waited = now - self._began
        if waited > (self._step.limit_s or self._step.timeout_s):
            return True
        if self._step.limit_s is None:
            return False
        if now - self._sampled > _SAMPLE_S:
            self._sample(now)
        return waited > self._step.timeout_s and now - self._moved > _STALL_S

    def _sample(self, now: float) -> None:
        self._sampled = now
        usage = self._containers.usage(self._name)
        total = usage.memory_bytes + usage.read_bytes if usage else 0
        if total > self._seen_bytes + _PROGRESS_BYTES:
            self._seen_bytes = total
            self._moved = now
