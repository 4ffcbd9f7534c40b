"""HTTP servers for stand-ins: threads of this process, with faults on demand."""

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Generic, TypeVar

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class Faults:
    """What goes wrong.

    `statuses` maps a kind of request, such as `api`, to the statuses of the next answers to it;
    `cuts` maps a path to the number of body bytes after which the next answers end, `stalls` to the
    number after which the next answer stops until the stand-in is closed. `flips` maps a path to
    the offset of a byte that is wrong in each answer, `lengths` to the number of bytes that the
    file still has. Each answer with a file waits for `pause_s` seconds.
    """

    statuses: dict[str, list[int]] = field(default_factory=dict)
    retry_after: str = "1"
    cuts: dict[str, list[int]] = field(default_factory=dict)
    stalls: dict[str, int] = field(default_factory=dict)
    flips: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    ignore_range: bool = False
    pause_s: float = 0.0
    wrong_content_range: bool = False


@dataclass(frozen=True)
class Seen:
    """A request as it came; header names in lower case."""

    server: str
    method: str
    path: str
    headers: Mapping[str, str]


class Site:
    """What the servers of one stand-in share."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.seen: list[Seen] = []
        self.closing = threading.Event()
        self.body_bytes = 0
        self._counting = threading.Lock()

    def count(self, body_bytes: int) -> None:
        """Count what was sent of files."""
        with self._counting:
            self.body_bytes += body_bytes


SiteT = TypeVar("SiteT", bound=Site)


class Server(ThreadingHTTPServer, Generic[SiteT]):
    """Listens on a free port of 127.0.0.1 between `start` and `stop`."""

    daemon_threads = True

    def __init__(self, site: SiteT, handler: "type[Handler[SiteT]]") -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.site = site
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.site.closing.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are part of the tests."""


class Handler(BaseHTTPRequestHandler, Generic[SiteT]):
    """Answers GET and HEAD alike; subclasses have `name` and `answer_request`."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    name: str
    server: Server[SiteT]

    def answer_request(self) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.site.seen.append(Seen(self.name, self.command, self.path, headers))
        self.answer_request()

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def log_message(self, *_: object) -> None:
        """Be quiet."""

    def has_planned_failure(self, kind: str) -> bool:
        """Whether this request is to fail; if so, it has."""
        faults = self.server.site.faults
        planned = faults.statuses.get(kind)
        if not planned:
            return False
        status = planned.pop(0)
        headers = {"Retry-After": faults.retry_after} if status == 429 else {}
        self.answer(status, headers, b'{"error":"planned"}')
        return True

    def answer(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Send an answer; an empty value removes a header."""
        self.send_response(status)
        named = {"Content-Length": str(len(body)), **headers}
        self.close_connection |= not named["Content-Length"]
        for name, value in named.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_file(self, path: str, data: bytes, headers: Mapping[str, str]) -> None:
        """Answer with a file or the range asked for, and with the faults planned for its path."""
        faults = self.server.site.faults
        if path in faults.flips:
            at = faults.flips[path]
            data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        data = data[: faults.lengths.get(path)]
        status, start, end = 200, 0, len(data)
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        if asked and not faults.ignore_range:
            status, start = 206, int(asked[1])
            end = min(end, int(asked[2]) + 1) if asked[2] else end
            if start >= len(data):
                self.answer(416, {"Content-Range": f"bytes */{len(data)}"})
                return
            first = start + 1 if faults.wrong_content_range else start
            headers = {**headers, "Content-Range": f"bytes {first}-{end - 1}/{len(data)}"}
        body = data[start:end]
        fixed = {"Accept-Ranges": "bytes", "Content-Length": str(len(body)), **headers}
        cuts = faults.cuts.get(path)
        stalled = faults.stalls.pop(path, None) if self.command == "GET" else None
        if stalled is not None:
            body = body[:stalled]
        elif cuts and self.command == "GET":
            body = body[: cuts.pop(0)]
        self.close_connection |= len(body) < end - start
        time.sleep(faults.pause_s)
        if self.command == "GET":
            self.server.site.count(len(body))
        self.answer(status, fixed, body)
        if stalled is not None:
            self.wfile.flush()
            self.server.site.closing.wait(60)
