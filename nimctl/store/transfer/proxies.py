"""Which proxy a request goes through. Pure."""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from nimctl.core.errors import UsageError
from nimctl.store.transfer.urls import Origin, redacted


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
