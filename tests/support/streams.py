"""Many clients that each read streams of completions, and know how far they came."""

import http.client
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import urlsplit

_PATIENCE_S = 60.0


class Stream(NamedTuple):
    """How one ended: `replica` is who answered, `failure` what went wrong, None for nothing."""

    replica: str | None
    tokens: int
    failure: str | None


class Clients:
    """`count` clients, all of which have their first token before `begun` returns.

    Each makes `requests` of them, one after another, `pause_s` seconds apart.
    """

    def __init__(
        self, url: str, count: int, *, requests: int = 1, tokens: int = 300, pause_s: float = 0
    ) -> None:
        self._pause_s = pause_s
        self._url = url
        self._requests = requests
        self._tokens = tokens
        self._stop = threading.Event()
        self._first = threading.Barrier(count + 1)
        self._pool = ThreadPoolExecutor(count)
        self._results: list[Future[list[Stream]]] = [
            self._pool.submit(self._ask) for _ in range(count)
        ]

    def begun(self) -> None:
        """Wait until all of them are reading."""
        self._first.wait(_PATIENCE_S)

    def stop(self) -> None:
        """Have each finish the request that it is at, and ask no more."""
        self._stop.set()

    def results(self) -> list[Stream]:
        """What each request gave; waits for all of them."""
        with self._pool:
            return [stream for one in self._results for stream in one.result(_PATIENCE_S)]

    def _ask(self) -> list[Stream]:
        done: list[Stream] = []
        for number in range(self._requests):
            if number and self._stop.wait(self._pause_s):
                break
            on_first = self._wait if number == 0 else _go_on
            done.append(read_stream(self._url, self._tokens, on_first))
        return done

    def _wait(self) -> None:
        self._first.wait(_PATIENCE_S)


def _go_on() -> None:
    """Wait for nobody."""


def read_stream(url: str, tokens: int, on_first: Callable[[], None] = _go_on) -> Stream:
    """Ask for a stream of so many tokens and read it to its end."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_PATIENCE_S)
    # The demo model would stop after a word; `ignore_eos` is llama.cpp's.
    body = {"model": "capitals-demo", "prompt": "Tell me", "max_tokens": tokens}
    body |= {"stream": True, "ignore_eos": True}
    replica, seen, whole = None, 0, False
    try:
        connection.request(
            "POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        replica = answer.getheader("X-Served-By")
        if answer.status != http.client.OK:
            return Stream(replica, 0, f"HTTP {answer.status}")
        for line in answer:
            if line.startswith(b"data: [DONE]"):
                whole = True
            elif line.startswith(b"data: "):
                seen += 1
                if seen == 1:
                    on_first()
    except (OSError, http.client.HTTPException) as error:
        return Stream(replica, seen, repr(error))
    finally:
        connection.close()
    return Stream(replica, seen, None if whole else "it ended before its end")
