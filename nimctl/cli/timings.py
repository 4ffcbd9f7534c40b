"""Where the time until ready went: nimctl's own, the work of steps, the engine's."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from nimctl.core.events import Emit, Event, Finished, Started

_WAITING = ("ready",)


class Stopwatch:
    """Passes events on and times them, from the start of this process."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._began = _process_start()
        self._planned = _now()
        self._steps: dict[str, float] = {}
        self._open: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Note the time of an event and hand it on."""
        match event:
            case Started():
                self._open[event.task] = _now()
            case Finished() if event.task in self._open:
                self._steps[event.task] = _now() - self._open.pop(event.task)
            case _:
                pass
        self._emit(event)

    @property
    def total_s(self) -> float:
        """Seconds from the process's start until now."""
        return _now() - self._began

    def lines(self) -> Iterator[str]:
        """The split in words; nimctl's own is what is left of the total."""
        engine = sum(self._steps.get(task, 0.0) for task in _WAITING)
        moved = sum(
            spent for task, spent in self._steps.items() if task not in (*_WAITING, "launch")
        )
        yield f"timings: total {self.total_s:.3f} s"
        yield f"timings: nimctl {self.total_s - engine - moved:.3f} s"
        yield f"timings:   of it until the plan {self._planned - self._began:.3f} s"
        yield f"timings: fetch and build {moved:.3f} s"
        yield f"timings: engine {engine:.3f} s"


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _process_start() -> float:
    """Seconds since boot at which this process began (field 22 of /proc/self/stat, proc(5))."""
    stat = Path("/proc/self/stat").read_text(encoding="utf-8")
    ticks = int(stat.rpartition(")")[2].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK")
