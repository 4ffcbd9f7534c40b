"""URLs: origins, redirects, proxies, and what of a URL may be shown. Pure."""

import ipaddress
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urljoin, urlsplit, urlunsplit

from nimctl.core.errors import NetworkError, UsageError

_PORTS = {"http": 80, "https": 443}

# Query keys whose values are no secret. All others are hidden: every storage service signs with
# keys of its own.
_SHOWN_KEYS = frozenset(
    {"download", "revision", "version", "versionid", "x-amz-date", "x-amz-expires", "expires", "se"}
)
_SIGNATURE_KEYS = frozenset(
    {"x-amz-signature", "x-goog-signature", "signature", "sig", "key-pair-id", "policy", "token"}
)


class Origin(NamedTuple):
    """What credentials belong to (RFC 6454)."""

    scheme: str
    host: str
    port: int


def origin(url: str) -> Origin:
    """The origin of an http or https URL.

    Raises:
        NetworkError: It is no such URL.
    """
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError as error:
        raise NetworkError("a URL cannot be read", cause=f"{redacted(url)}: {error}") from None
    if scheme not in _PORTS or not host:
        raise NetworkError(
            f"{redacted(url)} cannot be fetched", cause="only http, https and file URLs can be"
        )
    return Origin(scheme, host, _PORTS[scheme] if port is None else port)


def request_target(url: str) -> str:
    """Path and query as they stand in a request line."""
    parts = urlsplit(url)
    target = parts.path or "/"
    if parts.query:
        target += "?" + parts.query
    # Servers send raw blanks and UTF-8 in Location; what is escaped already stays as it is.
    return quote(target, safe="!#$%&'()*+,/:;=?@[]~")


def redirected(url: str, location: str) -> str:
    """Where a redirect leads.

    Raises:
        NetworkError: It leads from https to something else, or out of HTTP.
    """
    target = urljoin(url, location)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise NetworkError(
            f"{redacted(url)} redirects to an unencrypted address",
            cause=f"it leads to {redacted(target)}",
        )
    origin(target)
    return target


def redacted(url: str) -> str:
    """The URL without user, password, fragment and the values of unknown query keys."""
    head, question, rest = url.partition("?")
    scheme, separator, location = head.partition("://")
    authority, slash, path = location.partition("/")
    shown = f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path.partition('#')[0]}"
    if not question:
        return shown
    pairs = parse_qsl(rest.partition("#")[0], keep_blank_values=True)
    query = "&".join(
        f"{quote(key)}={quote(value) if key.lower() in _SHOWN_KEYS else '...'}"
        for key, value in pairs
    )
    return f"{shown}?{query}"


def is_presigned(url: str) -> bool:
    """Whether the URL carries a signature, and so may expire."""
    keys = {key.lower() for key, _ in parse_qsl(urlsplit(url).query)}
    return not keys.isdisjoint(_SIGNATURE_KEYS)


def proxy_for(target: Origin, proxies: Mapping[str, str]) -> str | None:
    """The URL of the proxy for an origin; None for a direct connection."""
    proxy = proxies.get(target.scheme)
    if not proxy or any(
        _bypasses(entry.strip().lower(), target) for entry in proxies.get("no_proxy", "").split(",")
    ):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def proxy_address(proxy: str) -> tuple[str, int, str | None]:
    """Host, port and `user:password` of a proxy URL.

    Raises:
        UsageError: It is no `http://` proxy.
    """
    parts = urlsplit(proxy)
    if parts.scheme != "http" or not parts.hostname:
        raise UsageError(
            f"{redacted(proxy)} is no proxy that nimctl can use", hint="use http://HOST:PORT"
        )
    user = parts.netloc.rpartition("@")[0]
    return parts.hostname, parts.port or 80, user or None


def without_fragment(url: str) -> str:
    """The URL as it is requested."""
    return urlunsplit(urlsplit(url)._replace(fragment=""))


def _bypasses(entry: str, target: Origin) -> bool:
    """Whether a NO_PROXY entry (`*`, `host`, `.domain`, `host:port`, `10.0.0.0/8`) matches."""
    if not entry:
        return False
    if entry == "*":
        return True
    host = target.host.lower()
    if "/" in entry:
        try:
            return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and "]" not in port and name.count(":") == 0:
        if int(port) != target.port:
            return False
        entry = name
    entry = entry.strip("[]").removeprefix("*").removeprefix(".")
    return host == entry or host.endswith("." + entry)
