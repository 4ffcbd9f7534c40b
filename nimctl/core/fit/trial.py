"""What came of trying a profile on one part of a host."""

from nimctl.core.machine import Gpu
from nimctl.core.memory import MemoryNeed
from nimctl.core.profile import Check, Fit
from nimctl.core.value import Value


class Trial(Value):
    """The checks, of which only the last may have failed; `room` tells about memory if none did."""

    checks: tuple[Check, ...]
    room: Check | None = None
    memory: MemoryNeed | None = None
    gpus: tuple[Gpu, ...] = ()

    def fit(self, *, build: bool) -> Fit:
        """The class that this puts a profile in; `build` if its engine is still to be built."""
        if not self.checks[-1].passed:
            return Fit.INCOMPATIBLE
        if self.room and not self.room.passed:
            return Fit.LOW_MEMORY
        return Fit.BUILDABLE if build else Fit.COMPATIBLE
