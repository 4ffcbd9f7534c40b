"""Work that goes on beside the caller's, in order."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

_BATCH_CALLS = 256
_BATCH_BYTES = 256 * 1024
_BATCHES = 16  # may wait: about 4 MiB


class Background:
    """Calls that one thread makes, one after another; after a failure, no more.

    They are handed over in batches, since handing over costs more than a small file does.
    """

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._batch: list[Callable[[], None]] = []
        self._batch_bytes = 0
        self._waiting: deque[Future[None]] = deque()
        self._has_failed = False

    def submit(self, call: Callable[[], None], size: int = 0) -> None:
        """Have a call made that holds `size` bytes; wait while too much is waiting.

        Raises whatever an earlier call raised.
        """
        self._batch.append(call)
        self._batch_bytes += size
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_CALLS:
            self._hand_over()
            self._settle(_BATCHES)

    def finish(self) -> None:
        """Wait until all calls are made; raises what one of them raised."""
        self._hand_over()
        self._settle(0)

    def close(self) -> None:
        """Stop: calls that were not begun are not made."""
        self._thread.shutdown(cancel_futures=True)

    def _hand_over(self) -> None:
        self._waiting.append(self._thread.submit(self._run, self._batch))
        self._batch, self._batch_bytes = [], 0

    def _settle(self, allowed: int) -> None:
        while self._waiting and (len(self._waiting) > allowed or self._waiting[0].done()):
            self._waiting.popleft().result()

    def _run(self, batch: list[Callable[[], None]]) -> None:
        if self._has_failed:
            return
        self._has_failed = True
        for call in batch:
            call()
        self._has_failed = False
