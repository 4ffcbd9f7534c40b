"""Decisions about HTTP: what may be shown, where credentials may go, what an answer means."""

import functools
import ipaddress
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from nimctl.core.errors import AuthError, NetworkError, NimctlError, NotFoundError, UsageError
from nimctl.core.value import Value

_PORTS = {"http": 80, "https": 443}
# All other values are hidden: every storage service signs with keys of its own.
_SHOWN_KEYS = frozenset(
    {
        *(
            "download",
            "expires",
            "list-type",
            "max-keys",
            "page-number",
            "page-size",
            "recursive",
            "revision",
            "se",
        ),
        *("prefix", "version", "versionid", "x-amz-date", "x-amz-expires"),
    }
)


_SIGNATURE_KEYS = frozenset({"x-amz-signature", "x-goog-signature", "signature", "sig"})


class HttpOptions(Value):
    """How the network is reached.

    `proxies` maps `http`, `https`, `all` to a proxy's URL and `no` to hosts reached without one.
    A request is sent up to `attempts` times, `pause_s` apart at first and twice as long each time;
    a server that asks to wait longer than `longest_pause_s` is given up.
    """

    proxies: dict[str, str] = {}
    ca_file: str | None = None
    netrc_file: str | None = None
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0
    attempts: int = 4
    pause_s: float = 0.5
    longest_pause_s: float = 60.0


class Origin(NamedTuple):
    """What credentials belong to (RFC 6454)."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The host, with the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


@functools.lru_cache(maxsize=256)
def origin(url: str) -> Origin:
    """The origin of an http or https URL.

    Raises:
        NetworkError: It is no such URL.
    """
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError as error:
        raise NetworkError(f"{redacted(url)} is no valid URL", cause=str(error)) from None
    if scheme not in _PORTS or not host:
        raise NetworkError(f"{redacted(url)} is neither an http nor an https URL")
    return Origin(scheme, host, _PORTS[scheme] if port is None else port)


def is_this_machine(host: str) -> bool:
    """Whether a host, as `origin` has it, is this machine's own loopback interface.

    What goes there never leaves it: RFC 6761 (6.3), RFC 1122 (3.2.1.3) and RFC 4291 (2.5.3).
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name, not an address


def redacted(url: str) -> str:
    """The URL without user, password, fragment and the values of unknown query keys."""
    head, question, rest = url.partition("?")
    scheme, separator, location = head.partition("://")
    authority, slash, path = location.partition("/")
    shown = f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path.partition('#')[0]}"
    if not question:
        return shown
    fields = rest.partition("#")[0].split("&")
    return f"{shown}?{'&'.join(_shown_field(field) for field in fields)}"


def is_signed(url: str) -> bool:
    """Whether a URL opens what it names to whoever reads it: the presigned ones of object stores.

    S3's and Google's are in the form of version 4, CloudFront's and Azure's in their own.
    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-signed-urls.html
    https://learn.microsoft.com/en-us/rest/api/storageservices/create-service-sas
    """
    fields = url.partition("#")[0].partition("?")[2].split("&")
    return any(field.partition("=")[0].lower() in _SIGNATURE_KEYS for field in fields)


def _shown_field(field: str) -> str:
    key, equals, value = field.partition("=")
    if not equals:
        return "..."
    return f"{key}={value if key.lower() in _SHOWN_KEYS else '...'}"


def redirected(url: str, location: str) -> str:
    """Where a redirect leads.

    Raises:
        NetworkError: It leads from https to something else, or out of HTTP.
    """
    try:
        target = urljoin(url, location)
    except ValueError as error:
        raise NetworkError(f"{redacted(url)} redirects to nowhere", cause=str(error)) from None
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise NetworkError(
            f"{redacted(url)} redirects to an unencrypted address",
            cause=f"it leads to {redacted(target)}",
        )
    origin(target)
    return target


def proxy_for(target: Origin, proxies: Mapping[str, str]) -> str | None:
    """The proxy that an origin is reached through; None for none.

    `proxies` is what curl reads from the environment, `*_proxy` without that ending
    (https://everything.curl.dev/usingcurl/proxies/env): `http`, `https` and `all` name proxies,
    `no` lists hosts, domains and networks, or is `*`.

    Raises:
        UsageError: The proxy is no HTTP proxy.
    """
    proxy = proxies.get(target.scheme) or proxies.get("all")
    if not proxy or _is_exempt(target, proxies.get("no", "")):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in _PORTS:
        raise UsageError(
            f"the proxy {redacted(proxy)} is not supported",
            hint=f"set {target.scheme.upper()}_PROXY to http://HOST:PORT",
        )
    return proxy


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds to wait, from `Retry-After` (RFC 9110, 10.2.3: seconds or a date)."""
    if header is None:
        return None
    header = header.strip()
    if header.isdecimal() and header.isascii():
        return float(header[:9])
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())


def refusal(url: str, status: int) -> NimctlError | None:
    """The error that a status means; None for a success."""
    what, host = redacted(url), origin(url).host
    match status:
        case _ if status < HTTPStatus.MULTIPLE_CHOICES:
            return None
        case HTTPStatus.UNAUTHORIZED:
            return AuthError(
                f"{host} wants credentials for {what}", hint=f"add `machine {host}` to ~/.netrc"
            )
        case HTTPStatus.FORBIDDEN:
            return AuthError(
                f"{host} refuses access to {what}",
                hint="check that the URL is complete and has not expired",
            )
        case HTTPStatus.NOT_FOUND | HTTPStatus.GONE:
            return NotFoundError(f"{what} does not exist", hint="check the URL")
    return NetworkError(f"{host} answers {status_line(status)} for {what}")


def status_line(status: int) -> str:
    """A status as people know it, for example `503 Service Unavailable`."""
    known = [one.phrase for one in HTTPStatus if one == status]
    return " ".join([str(status), *known])


def _is_exempt(target: Origin, no_proxy: str) -> bool:
    entries = [entry.strip().lower() for entry in no_proxy.split(",") if entry.strip()]
    return any(entry == "*" or _matches(target, entry) for entry in entries)


def _matches(target: Origin, entry: str) -> bool:
    name, _, port = entry.rpartition(":")
    if port.isdecimal() and ":" not in name:
        return int(port) == target.port and _matches(target, name)
    domain = entry.removeprefix("*").removeprefix(".")
    if target.host == domain or target.host.endswith(f".{domain}"):
        return True
    try:
        network = ipaddress.ip_network(domain.strip("[]"), strict=False)
        return ipaddress.ip_address(target.host) in network
    except ValueError:
        return False  # a name, not an address
