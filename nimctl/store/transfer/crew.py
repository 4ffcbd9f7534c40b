"""Threads whose failures are raised where they were started."""

import threading
from collections.abc import Callable


class Crew:
    """Daemon threads; the first failure of any goes to `on_failure`."""

    def __init__(self, on_failure: Callable[[BaseException], None]) -> None:
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._working = 0
        self._afterwards: Callable[[], None] | None = None
        self._ended = threading.Event()

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Run `work` in a thread."""
        thread = threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
        with self._lock:
            self._threads.append(thread)
            self._working += 1
        thread.start()

    def disband(self, timeout_s: float, afterwards: Callable[[], None]) -> None:
        """Wait for all, then call `afterwards`.

        If some do not end in time (they resolve a name, or the disk is slow), it is called by the
        last of them: nothing that they use is taken away under their hands.
        """
        with self._lock:
            self._afterwards = afterwards
            is_over = not self._working
        if is_over or self._ended.wait(timeout_s):
            for thread in self._threads:
                thread.join()
        if is_over:
            afterwards()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - nothing is hidden: it is raised elsewhere
            self._on_failure(error)
        finally:
            self._end()

    def _end(self) -> None:
        with self._lock:
            self._working -= 1
            afterwards = self._afterwards if not self._working else None
        if afterwards:
            afterwards()
            self._ended.set()
