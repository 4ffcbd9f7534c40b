"""How long a failing request is tried again."""

from collections.abc import Callable

from nimctl.core.errors import NetworkError
from nimctl.store.transfer.failures import TemporaryError, exhausted
from nimctl.store.transfer.options import TransferOptions
from nimctl.store.transfer.retry import backoff_s


class Patience:
    """Counts the failures of one piece of work since it last made progress."""

    def __init__(self, options: TransferOptions, wait: Callable[[float], object]) -> None:
        self._options = options
        self._wait = wait
        self._failures = 0
        self._best = 0

    def bear(self, error: TemporaryError, *, path: str, url: str, position: int) -> None:
        """Wait before the next try; progress is a `position` that was never reached before.

        Raises:
            NetworkError: It failed too often, or the server asks to wait too long.
        """
        if position > self._best:
            self._best = position
            self._failures = 0
        self._failures += 1
        if self._failures > self._options.retries:
            raise exhausted(path, url, error.cause) from error
        self._wait(self._delay_s(error, path, url))

    def _delay_s(self, error: TemporaryError, path: str, url: str) -> float:
        options = self._options
        asked_s = error.after_s or 0.0
        if asked_s > options.retry_after_limit_s:
            raise NetworkError(
                f"{path}: the server has no time for the download",
                cause=f"{url}: {error.cause}; it asks to come back in {asked_s:.0f} seconds",
                hint="run the same command again then; it goes on where it stopped",
            ) from error
        drawn_s = backoff_s(
            self._failures, base_s=options.backoff_s, limit_s=options.backoff_limit_s
        )
        return max(asked_s, drawn_s)
