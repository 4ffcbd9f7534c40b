"""Is a server ready, and is a port free?"""

import errno
import http.client
import socket
from urllib.parse import urlsplit


def answers(url: str, path: str, timeout_s: float) -> bool:
    """Tell whether `path` under `url` answers HTTP 200."""
    connection = connect(url, timeout_s)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def connect(url: str, timeout_s: float) -> http.client.HTTPConnection:
    """A connection to one of nimctl's own servers, which is made by the first request."""
    parts = urlsplit(url)
    if parts.scheme != "https":
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    import ssl  # noqa: PLC0415 - few servers have a certificate

    # It is made out to the name that clients know, not to the address that this machine uses.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(
        parts.hostname or "", parts.port, timeout=timeout_s, context=context
    )


def free_ports(count: int) -> list[int]:
    """Different ports of loopback that nobody listens on."""
    probes = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        # All are bound before any is let go, so that no two are the same.
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def free_port(host: str, port: int) -> int | None:
    """Return `port`, or one that the system chooses if it is 0; None when it is taken.

    Raises:
        OSError: `host` is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections are in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return None
            raise
        return int(probe.getsockname()[1])
