"""A file server on loopback that misbehaves on request, and remembers what it was asked.

It is written against RFC 9110 with the standard library only, independently of the client that it
tests.
"""

import contextlib
import http.server
import re
import select
import socket
import ssl
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import parse_qs, urlsplit

_CHUNK_BYTES = 16 * 1024
_FOREVER = 10**9

FaultKind = Literal["drop", "stall", "corrupt", "status"]
Ranges = Literal["yes", "ignored", "wrong", "unsatisfiable"]
Framing = Literal["length", "chunked", "until-close"]


@dataclass
class Fault:
    """Something that goes wrong `times` times, at byte `at` of the file.

    - drop: the connection ends before that byte.
    - stall: nothing comes from that byte on; the connection stays open.
    - corrupt: one bit of that byte is wrong.
    - status: the request is answered with `status` and `retry_after` (for any byte).
    """

    kind: FaultKind
    at: int = 0
    times: int = _FOREVER
    status: int = 503
    retry_after: str | None = None


@dataclass
class Served:
    """One path: its content, and how it is served."""

    content: bytes
    etag: str | None = '"1"'
    last_modified: str | None = None
    faults: list[Fault] = field(default_factory=list)
    ranges: Ranges = "yes"
    framing: Framing = "length"
    announced_bytes: int | None = None
    encoding: str | None = None
    bytes_per_s: int | None = None
    slow_range: tuple[int, int] | None = None
    redirect: str | None = None
    signature: str | None = None
    signature_lasts: int | None = None
    becomes: "tuple[int, Served] | None" = None
    requests_signed: int = 0


@dataclass(frozen=True)
class Asked:
    """One request as it came in; header names in lower case."""

    path: str
    target: str
    headers: dict[str, str]

    @property
    def range(self) -> tuple[int, int | None] | None:
        """First byte and the byte after the last, as asked for."""
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        if match is None:
            return None
        return int(match[1]), int(match[2]) + 1 if match[2] else None


class FileServer:
    """Serves what `put` gave it, from a thread; a context manager."""

    def __init__(self, *, certificate: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, Served] = {}
        self._released = threading.Event()
        self.requests: list[Asked] = []
        self.connects: list[Asked] = []
        self.body_bytes = 0
        handler = type("Handler", (_Handler,), {"owner": self})
        self._http = _Server(("127.0.0.1", 0), handler)
        self._scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._released.set()
        self._http.shutdown()
        self._thread.join()
        self._http.close_all()
        self._http.server_close()

    @property
    def port(self) -> int:
        """The port that the system chose."""
        return int(self._http.server_address[1])

    def url(self, path: str, *, host: str = "127.0.0.1") -> str:
        """The URL of a path."""
        return f"{self._scheme}://{host}:{self.port}/{path}"

    def put(self, path: str, served: Served) -> str:
        """Serve something under a path; returns its URL."""
        with self._lock:
            self._files["/" + path] = served
        return self.url(path)

    def heal(self, path: str) -> None:
        """Stop misbehaving, and forget what was counted."""
        with self._lock:
            old = self._files["/" + path]
            self._files["/" + path] = Served(old.content, old.etag, old.last_modified)
            self.body_bytes = 0
            self.requests.clear()

    def release(self) -> None:
        """End the connections that stall, now and later."""
        self._released.set()

    def signature(self, path: str) -> str | None:
        """The signature that is good now; with `signature_lasts` it is a number that grows."""
        with self._lock:
            return self._files["/" + path].signature

    @property
    def connections(self) -> int:
        """How many connections were ever accepted."""
        return self._http.accepted

    def asked(self, path: str) -> list[Asked]:
        """The requests for a path, in order."""
        with self._lock:
            return [request for request in self.requests if request.path == "/" + path]

    # For the handler.

    def accepts(self, served: Served, query: str) -> bool:
        """Whether a request has the present signature, if one is needed."""
        if served.signature is None:
            return True
        with self._lock:
            if parse_qs(query).get("X-Amz-Signature") != [served.signature]:
                return False
            if served.signature_lasts is not None:
                served.requests_signed += 1
                if served.requests_signed % served.signature_lasts == 0:
                    served.signature = str(int(served.signature) + 1)
            return True

    def look_up(self, asked: Asked) -> tuple[Served, list[Fault]] | None:
        """What to serve, and the faults that are due; counts the request."""
        with self._lock:
            self.requests.append(asked)
            served = self._files.get(asked.path)
            if served is None:
                return None
            if served.becomes:
                left, successor = served.becomes
                if left <= 0:
                    served = self._files[asked.path] = successor
                else:
                    served.becomes = (left - 1, successor)
            start, end = asked.range or (0, None)
            if served.ranges == "ignored":
                start, end = 0, None
            end = len(served.content) if end is None else end
            due = [
                fault
                for fault in served.faults
                if fault.times > 0 and (fault.kind == "status" or start <= fault.at < end)
            ]
            for fault in due:
                fault.times -= 1
            return served, due

    def count(self, body_bytes: int) -> None:
        """Count what was sent."""
        with self._lock:
            self.body_bytes += body_bytes

    def stall(self) -> None:
        """Wait until `release`, or until the server ends."""
        self._released.wait()

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the server's end."""
        self._released.wait(seconds)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True

    def __init__(self, address: tuple[str, int], handler: type["_Handler"]) -> None:
        self._sockets: set[socket.socket] = set()
        self.accepted = 0
        super().__init__(address, handler)

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        if isinstance(request, socket.socket):
            # Little is under way, so that the bytes that were sent are nearly those received.
            request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * _CHUNK_BYTES)
            self._sockets.add(request)
            self.accepted += 1
        super().process_request(request, client_address)

    def close_all(self) -> None:
        """End connections that clients keep open."""
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are no error here."""


class _Handler(http.server.BaseHTTPRequestHandler):
    owner: FileServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base names it so
        """Nothing is logged."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(path=parts.path, target=self.path, headers=headers)
        found = self.owner.look_up(asked)
        if found is None:
            self._plain(HTTPStatus.NOT_FOUND)
            return
        served, faults = found
        status = next((fault for fault in faults if fault.kind == "status"), None)
        if status:
            self._plain(status.status, {"Retry-After": status.retry_after})
        elif served.redirect:
            self._plain(HTTPStatus.FOUND, {"Location": served.redirect})
        elif not self.owner.accepts(served, parts.query):
            self._plain(HTTPStatus.FORBIDDEN)
        else:
            self._serve(asked, served, faults)

    def do_CONNECT(self) -> None:
        """Tunnel, as a proxy does."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.owner.connects.append(Asked(path=self.path, target=self.path, headers=headers))
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as upstream:
            self.send_response(HTTPStatus.OK)
            self.end_headers()
            _relay(self.connection, upstream)
        self.close_connection = True

    def _serve(self, asked: Asked, served: Served, faults: list[Fault]) -> None:
        size = len(served.content)
        wanted = asked.range
        if asked.headers.get("if-range") not in (None, served.etag, served.last_modified):
            wanted = None
        if wanted is None or served.ranges == "ignored":
            self._head(HTTPStatus.OK, served, 0, size)
            self._body(served, 0, size, faults)
            return
        start, end = wanted[0], min(size, wanted[1] or size)
        if start >= size or served.ranges == "unsatisfiable":
            self._plain(416, {"Content-Range": f"bytes */{size}"})
            return
        self._head(HTTPStatus.PARTIAL_CONTENT, served, start, end)
        self._body(served, start, end, faults)

    def _head(self, status: HTTPStatus, served: Served, start: int, end: int) -> None:
        self.send_response(status)
        if status == HTTPStatus.PARTIAL_CONTENT:
            shift = 1 if served.ranges == "wrong" else 0
            size = len(served.content)
            self.send_header("Content-Range", f"bytes {start + shift}-{end - 1 + shift}/{size}")
        optional = {
            "ETag": served.etag,
            "Last-Modified": served.last_modified,
            "Content-Encoding": served.encoding,
        }
        for name, value in optional.items():
            if value:
                self.send_header(name, value)
        self._is_chunked = served.framing == "chunked"
        match served.framing:
            case "length":
                announced = (
                    end - start if served.announced_bytes is None else served.announced_bytes
                )
                self.send_header("Content-Length", str(announced))
            case "chunked":
                self.send_header("Transfer-Encoding", "chunked")
            case "until-close":
                self.send_header("Connection", "close")
                self.close_connection = True
        self.end_headers()

    def _body(self, served: Served, start: int, end: int, faults: list[Fault]) -> None:
        stop = min((fault.at for fault in faults if fault.kind in ("drop", "stall")), default=end)
        corrupt = [fault.at for fault in faults if fault.kind == "corrupt"]
        slow = (
            served.slow_range is not None and served.slow_range[0] <= start < served.slow_range[1]
        )
        rate = served.bytes_per_s if served.slow_range is None or slow else None
        for at in range(start, stop, _CHUNK_BYTES):
            data = bytearray(served.content[at : min(at + _CHUNK_BYTES, stop)])
            for bad in corrupt:
                if at <= bad < at + len(data):
                    data[bad - at] ^= 1
            self._write(data)
            if rate:
                self.owner.pause(len(data) / rate)
        if stop < end:
            if any(fault.kind == "stall" for fault in faults):
                self.owner.stall()
            self.close_connection = True
        elif self._is_chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _write(self, data: bytearray) -> None:
        # Counted before: whoever has the bytes may look at the count at once.
        self.owner.count(len(data))
        try:
            if self._is_chunked:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), bytes(data)))
            else:
                self.wfile.write(data)
        except OSError:
            self.owner.count(-len(data))
            raise

    def _plain(self, status: int, headers: dict[str, str | None] | None = None) -> None:
        body = b"<html>this is no model</html>"
        self.send_response(status)
        for name, value in (headers or {}).items():
            if value is not None:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Copy both ways until either side ends."""
    peers = {one: other, other: one}
    while True:
        for ready in select.select(list(peers), [], [])[0]:
            data = ready.recv(65536)
            if not data:
                return
            peers[ready].sendall(data)
