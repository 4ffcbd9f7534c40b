"""Log lines out of the engine's stream.

The stream: https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
"""

import contextlib
import struct
import threading
from collections.abc import Generator, Iterable, Iterator

import requests
import urllib3
from docker import APIClient

from nimctl.core.errors import ContainerEngineError
from nimctl.serving.docker.failures import answered, translated

_HEADER = struct.Struct(">BxxxL")


class LogStream:
    """Lines as they come; `close` ends it, also from another thread, and has to be called."""

    def __init__(
        self,
        client: APIClient,
        container: str,
        where: str,
        *,
        follow: bool,
        tail: int | None = None,
        since_s: float | None = None,
    ) -> None:
        self._where = where
        self._lock = threading.Lock()
        self._reading = self._closed = False
        parameters = {
            "stdout": 1,
            "stderr": 1,
            "follow": int(follow),
            "tail": "all" if tail is None else tail,
            "since": 0 if since_s is None else since_s,
        }
        # The SDK's own method leaves the socket of a stream that is cancelled unclosed.
        url = f"{client.base_url}/v{client.api_version}/containers/{container}/logs"
        with translated("reading the log", where):
            self._response = client.get(url, params=parameters, stream=True, timeout=None)
            answered(self._response)

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            if self._closed:
                return
            self._reading = True
        try:
            with translated("reading the log", self._where):
                yield from lines(_frames(self._response))
        except ContainerEngineError:
            if not self._closed:
                raise
        finally:
            self._response.close()

    def close(self) -> None:
        """End the stream."""
        with self._lock:
            self._closed = True
        # Who reads wakes up by this and closes the answer; to close it here would be a race.
        with contextlib.suppress(ValueError, RuntimeError, OSError):
            self._response.raw.shutdown()
        if not self._reading:
            self._response.close()


def lines(chunks: Iterable[bytes]) -> Generator[str]:
    """Whole lines out of chunks that end anywhere; a carriage return ends a line as well."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")


def _frames(response: requests.Response) -> Iterator[bytes]:
    raw: urllib3.HTTPResponse = response.raw
    while True:
        header = raw.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return
        _, length = _HEADER.unpack(header)
        yield raw.read(length)
