"""How a proxy is reached. Pure."""

from urllib.parse import urlsplit

from nimctl.core.errors import UsageError
from nimctl.core.http import redacted


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
