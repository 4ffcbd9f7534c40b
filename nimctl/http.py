"""The control-plane HTTP client: short requests to registries. Bulk bytes go another way."""

import base64
import netrc
import random
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Self
from urllib.parse import urlencode

import httpx2

from nimctl import __version__
from nimctl.core.closing import Closing
from nimctl.core.errors import NetworkError, UsageError
from nimctl.core.http import (
    HttpOptions,
    is_this_machine,
    origin,
    proxy_for,
    redacted,
    redirected,
    refusal,
    retry_after_s,
    status_line,
)
from nimctl.core.value import Value

__all__ = ["Client", "HttpOptions", "Response", "library_client"]

_MAX_REDIRECTS = 5
_MAX_BODY_BYTES = 32 * 2**20
_REDIRECTS = (301, 302, 303, 307, 308)
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
# All other headers may be credentials and stay with their origin.
_TRAVELLING = ("accept", "accept-encoding", "range", "user-agent")
_HEADERS_ONLY = "nimctl.headers_only"
_STAYS = "nimctl.stays"


class Response(Value):
    """An answer, whatever its status; header names in lower case, `url` after redirects."""

    url: str
    status: int
    headers: dict[str, str]
    body: bytes = b""

    def raise_for_status(self) -> Self:
        """Return itself.

        Raises:
            AuthError: The server wants (other) credentials.
            NotFoundError: There is nothing at that URL.
            NetworkError: Any other status that is no success.
        """
        failure = refusal(self.url, self.status)
        if failure:
            raise failure
        return self


class Client(Closing):
    """Sends GET and HEAD requests, and forms.

    Its methods return an answer with any status but those that mean "try again"; these are tried
    again, and redirects are followed. Headers that a caller adds, such as credentials, go to the
    origin of the URL only; where it adds none, those of the netrc file do.

    Raises:
        NetworkError: There is no answer, from any of its methods.
    """

    def __init__(
        self, options: HttpOptions | None = None, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._options = options or HttpOptions()
        self._transport = _Transport(self._options, sleep)

    def head(self, url: str, headers: Mapping[str, str] | None = None) -> Response:
        """Ask for the headers."""
        return self._send("HEAD", url, headers or {})

    def peek(self, url: str, headers: Mapping[str, str] | None = None) -> Response:
        """Ask for the first byte and read the headers only, for servers that refuse HEAD."""
        ranged = {"Range": "bytes=0-0"}
        return self._send("GET", url, headers or {}, ranged, headers_only=True)

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Response:
        """Fetch a document of at most 32 MiB."""
        return self._send("GET", url, headers or {})

    def post_form(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Response:
        """Send a form, which may have secrets in it: redirects are not followed."""
        own = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(form).encode()
        return self._send("POST", url, headers, own, content=body)

    def close(self) -> None:
        """Close its connections."""
        self._transport.close()

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        own: Mapping[str, str] | None = None,
        *,
        headers_only: bool = False,
        content: bytes = b"",
    ) -> Response:
        known = headers or _netrc_credentials(url, self._options.netrc_file)
        fixed = {"User-Agent": f"nimctl/{__version__}", "Accept-Encoding": "identity"}
        extensions = {_HEADERS_ONLY: headers_only, _STAYS: bool(content)}
        sent = {**fixed, **(own or {}), **known}
        request = _request(method, url, sent, extensions, content)
        answer = self._transport.handle_request(request)
        return Response(
            url=str(answer.url),
            status=answer.status_code,
            headers={name.lower(): value for name, value in answer.headers.items()},
            body=answer.content,
        )


def library_client(options: HttpOptions) -> httpx2.Client:
    """Make an httpx2 client for a library that sends its own requests.

    Proxies, CA bundle, time limits, retries, redirects and errors are those of `Client`, whatever
    the library asks for.
    """
    return httpx2.Client(transport=_Transport(options, time.sleep), trust_env=False)


class _TryAgain(Exception):  # noqa: N818 - a signal inside this module
    def __init__(self, failure: NetworkError, wait_s: float | None = None) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.wait_s = wait_s


class _Transport(httpx2.BaseTransport):
    """Follows redirects, sends again what failed, and reads each answer whole."""

    def __init__(self, options: HttpOptions, sleep: Callable[[float], None]) -> None:
        self._options = options
        self._sleep = sleep
        self._routes: dict[tuple[str, str | None], httpx2.HTTPTransport] = {}

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        asked = str(request.url)
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._insist(request)
            location = response.headers.get("Location")
            stays = request.extensions.get(_STAYS)
            if response.status_code not in _REDIRECTS or not location or stays:
                return response
            request = _moved(request, redirected(str(request.url), location))
        raise NetworkError(f"{redacted(asked)} redirects more than {_MAX_REDIRECTS} times")

    def close(self) -> None:
        for route in self._routes.values():
            route.close()
        self._routes.clear()

    def _insist(self, request: httpx2.Request) -> httpx2.Response:
        attempt = 1
        while True:
            try:
                return self._send(request)
            except _TryAgain as again:
                usual_s = self._options.pause_s * 2 ** (attempt - 1)
                wait_s = max(usual_s, again.wait_s or 0.0)
                if attempt >= self._options.attempts or wait_s > self._options.longest_pause_s:
                    raise again.failure from again.__cause__
            self._sleep(wait_s * random.uniform(1.0, 1.3))  # noqa: S311 - jitter is no secret
            attempt += 1

    def _send(self, request: httpx2.Request) -> httpx2.Response:
        options, url = self._options, str(request.url)
        limits = httpx2.Timeout(options.read_timeout_s, connect=options.connect_timeout_s)
        request.extensions = {**request.extensions, "timeout": limits.as_dict()}
        try:
            response = _read(self._route(url).handle_request(request), request)
        except httpx2.LocalProtocolError as error:
            # Its text quotes the header, which may be a token.
            raise UsageError(f"the request to {redacted(url)} has an illegal header") from error
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise _unreachable(url, error) from error
        if response.status_code in _TRANSIENT:
            wait_s = retry_after_s(response.headers.get("Retry-After"), datetime.now(UTC))
            raise _TryAgain(_busy(url, response.status_code, wait_s), wait_s)
        return response

    def _route(self, url: str) -> httpx2.HTTPTransport:
        target = origin(url)
        proxy = proxy_for(target, self._options.proxies)
        key = (target.scheme, proxy)
        if key not in self._routes:
            # Reading the certificates takes longer than a request, and http needs none.
            is_encrypted = target.scheme == "https"
            verify = _tls_context(self._options.ca_file) if is_encrypted else _trusting_nobody()
            self._routes[key] = httpx2.HTTPTransport(verify=verify, proxy=proxy, trust_env=False)
        return self._routes[key]


def _request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    extensions: Mapping[str, object],
    content: bytes = b"",
) -> httpx2.Request:
    try:
        # Without content there is to be no length either.
        return httpx2.Request(
            method, url, headers=headers, extensions=dict(extensions), content=content or None
        )
    except httpx2.InvalidURL as error:
        raise NetworkError(f"{redacted(url)} is no valid URL", cause=str(error)) from error


def _moved(request: httpx2.Request, url: str) -> httpx2.Request:
    stays = origin(url) == origin(str(request.url))
    headers = {
        name: value
        for name, value in request.headers.items()
        if name in _TRAVELLING or (stays and name != "host")
    }
    return _request(request.method, url, headers, request.extensions)


def _read(response: httpx2.Response, request: httpx2.Request) -> httpx2.Response:
    body = bytearray()
    try:
        if not request.extensions.get(_HEADERS_ONLY):
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > _MAX_BODY_BYTES:
                    raise NetworkError(f"{redacted(str(request.url))} is unexpectedly large")
    finally:
        response.close()
    return httpx2.Response(
        response.status_code,
        headers=response.headers,
        content=bytes(body),
        request=request,
        extensions=response.extensions,
    )


def _trusting_nobody() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    if ca_file is None:
        return httpx2.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # also the base of ssl.SSLError
        raise UsageError(
            f"the CA bundle {ca_file} cannot be used",
            cause=error.strerror or str(error),
            hint="set SSL_CERT_FILE to a file of PEM certificates",
        ) from error


def _netrc_credentials(url: str, netrc_file: str | None) -> dict[str, str]:
    """The Authorization header that a netrc file has for a URL's host; empty for none.

    Passwords go over https, or to this machine. A `default` entry is not used: it would send one
    password to every host.
    """
    scheme, host, _ = origin(url)
    if netrc_file is None or host == "default" or (scheme != "https" and not is_this_machine(host)):
        return {}
    try:
        entry = netrc.netrc(netrc_file).hosts.get(host)
    except OSError:
        return {}  # most people have none
    except netrc.NetrcParseError as error:
        where = f"line {error.lineno}: {error.msg}"
        raise UsageError(f"{netrc_file} cannot be parsed", cause=where) from error
    if entry is None:
        return {}
    login, _, password = entry
    pair = base64.b64encode(f"{login}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def _unreachable(url: str, error: Exception) -> NetworkError | _TryAgain:
    host = origin(url).authority
    if _is_caused_by(error, ssl.SSLCertVerificationError):
        return NetworkError(
            f"the certificate of {host} is not trusted",
            cause=str(error),
            hint="set SSL_CERT_FILE to the CA bundle of your network",
        )
    is_there = not isinstance(
        error, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)
    )
    failure = NetworkError(
        f"{host} breaks off or answers nonsense" if is_there else f"{host} cannot be reached",
        cause=str(error) or type(error).__name__,
        hint="check the network, HTTPS_PROXY and NO_PROXY; what was pulled works with --offline",
    )
    return _TryAgain(failure)


def _is_caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error is not None


def _busy(url: str, status: int, wait_s: float | None) -> NetworkError:
    return NetworkError(
        f"{origin(url).authority} answers {status_line(status)} for {redacted(url)}",
        cause=f"it asks to wait {wait_s:.0f} s" if wait_s else None,
        hint="run the command again later",
    )
