"""URLs: origins, redirects, and what of a URL may be shown. Pure."""

from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from nimctl.core.errors import NetworkError

_PORTS = {"http": 80, "https": 443}

# Query keys whose values are no secret. All others are hidden: every storage service signs with
# keys of its own.
_SHOWN_KEYS = frozenset(
    {"download", "revision", "version", "versionid", "x-amz-date", "x-amz-expires", "expires", "se"}
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


def _shown_field(field: str) -> str:
    key, equals, value = field.partition("=")
    if not equals:
        return "..."
    return f"{key}={value if key.lower() in _SHOWN_KEYS else '...'}"
