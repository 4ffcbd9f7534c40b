"""One HTTP/1.1 connection, kept alive; library errors become `TemporaryError` or `NimctlError`."""

import base64
import contextlib
import http.client
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from io import DEFAULT_BUFFER_SIZE
from urllib.parse import unquote

from nimctl.core.closing import Closing
from nimctl.core.errors import NetworkError
from nimctl.core.http import Origin
from nimctl.store.transfer.failures import TemporaryError
from nimctl.store.transfer.heads import QuickResponse
from nimctl.store.transfer.proxies import proxy_address

_WORTH_SKIPPING_BYTES = 64 * 1024
# What is hashed and written while the processor's cache has it takes a third less of its time;
# TLS, whose records are that small anyhow, has less work with more at once (measured, 2 threads).
_PLAIN_BYTES = 256 * 1024
_PAUSE_MS = 10
_LONGEST_GATHERING_S = 0.1


class Sockets:
    """All open sockets of a transfer, so that its end can wake up every reader."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._aborted = False

    def add(self, sock: socket.socket) -> None:
        """Remember a socket.

        Raises:
            TemporaryError: It is too late: nothing may be read any more.
        """
        with self._lock:
            if self._aborted:
                raise TemporaryError("the transfer is stopping")
            self._open.add(sock)

    def discard(self, sock: socket.socket) -> None:
        """Forget a socket that is about to be closed."""
        with self._lock:
            self._open.discard(sock)

    def abort(self) -> None:
        """Make every read end at once, and allow no new ones."""
        with self._lock:
            self._aborted = True
            for sock in self._open:
                _shut_down(sock)


class Response(Closing):
    """An answer whose body is read into the caller's memory."""

    def __init__(
        self, connection: "Connection", sock: socket.socket, response: http.client.HTTPResponse
    ) -> None:
        self._connection = connection
        self._socket = sock
        self._arrivals = _arrivals(sock) if isinstance(sock, ssl.SSLSocket) else None
        self._response = response
        self._unread = response.length
        self._is_begun = False
        self.status = response.status
        self.headers: Mapping[str, str] = dict(response.headers)

    @property
    def is_delimited(self) -> bool:
        """Whether the server said beforehand how long the body is."""
        return self._unread is not None

    def read_into(self, view: memoryview) -> int:
        """Read what has arrived, at least one byte; 0 at the end of the body.

        Raises:
            TemporaryError: The connection failed, stalled, or ended before the body did.
        """
        with translated_connection_errors():
            if self._unread is None:
                # Chunked, or until the connection ends; http.client tells a cut chunk.
                data = self._response.read1(len(view))
                view[: len(data)] = data
                return len(data)
            if self._unread == 0:
                return 0
            count = self._read(view[: self._unread])
            if not count:
                raise TemporaryError("the connection ended before the content did")
            self._unread -= count
            return count

    def _read(self, view: memoryview) -> int:
        """What has arrived; of TLS, which gives 16 KiB at a time, what comes without a pause.

        What ends the connection meanwhile shows again when the next bytes are wanted.
        """
        if self._arrivals is None:
            return self._receive(view[:_PLAIN_BYTES])
        count = more = self._receive(view)
        end = time.monotonic() + _LONGEST_GATHERING_S
        with contextlib.suppress(OSError):
            while more and count < len(view) and self._arrivals.poll(_PAUSE_MS):
                more = self._receive(view[count:])
                count += more
                if time.monotonic() > end:
                    break
        return count

    def _receive(self, view: memoryview) -> int:
        if self._is_begun:
            return self._socket.recv_into(view)
        # HTTPResponse.readinto waits for a full buffer and loses what it has when it fails. So does
        # readinto1 with what came along with the head, if it is given more room than that.
        self._is_begun = True
        return self._response.fp.readinto1(view[:DEFAULT_BUFFER_SIZE])

    def close(self) -> None:
        """Leave the connection usable if the body was read to its end, else close it."""
        is_read = self._unread == 0 or self._response.isclosed()
        self._response.close()
        if not is_read or self._response.will_close:
            self._connection.close()

    def discard(self) -> None:
        """Skip a short body, so that the connection can be used again, and close."""
        with self, contextlib.suppress(TemporaryError):
            if self._unread is not None and self._unread <= _WORTH_SKIPPING_BYTES:
                view = memoryview(bytearray(self._unread))
                while self.read_into(view):
                    pass


def _arrivals(sock: socket.socket) -> select.poll:
    arrivals = select.poll()
    arrivals.register(sock, select.POLLIN)
    return arrivals


class Connection:
    """A connection to one origin, direct or through a proxy; opened when it is first used."""

    def __init__(
        self,
        target: Origin,
        proxy: str | None,
        *,
        tls: ssl.SSLContext | None,
        connect_timeout_s: float,
        stall_timeout_s: float,
        sockets: Sockets,
    ) -> None:
        self._stall_timeout_s = stall_timeout_s
        self._sockets = sockets
        self._socket: socket.socket | None = None
        self._proxy_headers: dict[str, str] = {}
        self._absolute_prefix = ""
        host, port, user = proxy_address(proxy) if proxy else (target.host, target.port, None)
        if user:
            self._proxy_headers["Proxy-Authorization"] = basic(unquote(user))
        if tls:
            self._http: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=connect_timeout_s, context=tls
            )
            if proxy:
                self._http.set_tunnel(target.host, target.port, self._proxy_headers)
                self._proxy_headers = {}
        else:
            self._http = http.client.HTTPConnection(host, port, timeout=connect_timeout_s)
            if proxy:
                self._absolute_prefix = f"http://{_authority(target)}"
        self._http.response_class = QuickResponse
        self._host_header = _authority(target)
        self._where = f"{host}:{port}"

    @property
    def is_open(self) -> bool:
        """Whether it was used before and may be used again."""
        return self._socket is not None

    def get(self, target: str, headers: Mapping[str, str]) -> Response:
        """Send a GET request and read the head of the answer.

        Raises:
            TemporaryError: The connection failed.
            NetworkError: The server's certificate cannot be trusted.
        """
        sock = self._socket or self._connect()
        with self._closed_on_error(), translated_connection_errors():
            self._http.putrequest(
                "GET", self._absolute_prefix + target, skip_host=True, skip_accept_encoding=True
            )
            for name, value in {
                "Host": self._host_header,
                **self._proxy_headers,
                **headers,
            }.items():
                self._http.putheader(name, value)
            self._http.endheaders()
            return Response(self, sock, self._http.getresponse())

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._sockets.discard(self._socket)
            self._socket = None
        self._http.close()

    def _connect(self) -> socket.socket:
        with (
            self._closed_on_error(),
            translated_connection_errors(f"cannot connect to {self._where}"),
        ):
            self._http.connect()
            # Kept here because http.client forgets it when an answer says that it ends there.
            sock: socket.socket = self._http.sock
            self._socket = sock
            sock.settimeout(self._stall_timeout_s)
            self._sockets.add(sock)
            return sock

    @contextlib.contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            yield
            undo.pop_all()


@contextlib.contextmanager
def translated_connection_errors(doing: str = "the connection failed") -> Iterator[None]:
    """Turn what sockets, TLS and http.client raise into `TemporaryError`.

    Raises:
        NetworkError: The server's certificate cannot be trusted; trying again does not help.
    """
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise NetworkError(
            "the server's certificate cannot be trusted",
            cause=error.verify_message,
            hint="if a proxy of your organisation is on the way, name its CA in SSL_CERT_FILE",
        ) from error
    except TimeoutError as error:
        raise TemporaryError(f"{doing}: no answer in time") from error
    except (OSError, http.client.HTTPException) as error:
        raise TemporaryError(f"{doing}: {str(error) or type(error).__name__}") from error


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Certificates and host names are always checked.

    Raises:
        NetworkError: The CA file cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise NetworkError(
            f"the certificate authorities in {ca_file} cannot be read",
            cause=str(error),
            hint="SSL_CERT_FILE names a file of PEM certificates",
        ) from error


def _shut_down(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Not SSLSocket.shutdown, which takes the TLS state away under a thread that is reading.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _authority(target: Origin) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    is_default = (target.scheme, target.port) in (("http", 80), ("https", 443))
    return host if is_default else f"{host}:{target.port}"


def basic(user: str) -> str:
    """The value of an Authorization header for `user:password`."""
    return "Basic " + base64.b64encode(user.encode()).decode()
