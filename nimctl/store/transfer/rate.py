"""A limit on bytes per second."""

import threading
import time
from collections.abc import Callable


class TokenBucket:
    """Shared by all connections: each takes what it has read and waits for as long as told.

    Holds at most `burst_s` seconds' worth, so a pause is not made up for by a flood.
    """

    def __init__(
        self,
        rate_bytes_per_s: int,
        *,
        burst_s: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = float(rate_bytes_per_s)
        self._burst = self._rate * burst_s
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = self._burst
        self._filled_at = clock()

    def take(self, count: int) -> float:
        """Take `count` bytes' worth; returns the seconds to wait before the next."""
        with self._lock:
            now = self._clock()
            gained = (now - self._filled_at) * self._rate
            self._tokens = min(self._burst, self._tokens + gained) - count
            self._filled_at = now
            return max(0.0, -self._tokens / self._rate)

    @property
    def portion_bytes(self) -> int:
        """How much to read at once so that the rate stays even."""
        return max(1024, int(self._burst))
