"""What came of trying a profile on one part of a host."""

from nimctl.core.machine import Gpu
from nimctl.core.memory import MemoryNeed
from nimctl.core.profile import Check, Fit
from nimctl.core.value import Value


class Trial(Value):
    """The checks up to the first that failed; `room` tells about memory, once they all passed."""

    checks: tuple[Check, ...]
    room: Check | None = None
    memory: MemoryNeed | None = None
    gpus: tuple[Gpu, ...] = ()

    @property
    def obstacle(self) -> Check | None:
        """The check that makes it incompatible."""
        last = self.checks[-1] if self.checks else None
        return last if last and not last.passed else None

    def fit(self, *, build: bool) -> Fit:
        """The class that this puts a profile in; `build` if its engine is still to be built."""
        if self.obstacle:
            return Fit.INCOMPATIBLE
        if self.room and not self.room.passed:
            return Fit.LOW_MEMORY
        return Fit.BUILDABLE if build else Fit.COMPATIBLE
