"""Work that an interrupt must not cut in two."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_LOOK_S = 0.2
# A minute; an engine that does not answer for so long will not.
_TRIES = 300

Result = TypeVar("Result")


def attended(work: Callable[[], Result], give_up: Callable[[], None]) -> Result:
    """Do work in a thread, whose requests no signal interrupts; its result, or what it raised.

    When the caller is interrupted, `give_up` is called until the work has ended: whatever it had
    just asked for has been answered then, and can be taken back.
    """
    worker = _Worker(work)
    try:
        worker.start()
        while not worker.has_ended(_LOOK_S):
            pass
    except BaseException:
        for _ in range(_TRIES):
            give_up()
            if worker.has_ended(_LOOK_S):
                break
        give_up()
        raise
    return worker.outcome()


class _Worker(Generic[Result]):
    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._results: list[Result] = []
        self._error: BaseException | None = None
        # An interrupted Thread.join() takes a thread that runs for one that has ended:
        # https://github.com/python/cpython/issues/90882
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nimctl-attended", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def has_ended(self, patience_s: float) -> bool:
        return self._ended.wait(patience_s)

    def outcome(self) -> Result:
        if self._error is not None:
            raise self._error
        return self._results[0]

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:  # noqa: BLE001 - it is raised again, by who waits
            self._error = error
        finally:
            self._ended.set()
