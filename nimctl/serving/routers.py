"""Routers: their files, and the commands that HAProxy takes on its socket.

https://docs.haproxy.org/2.6/management.html#9.3
"""

import csv
import hashlib
import os
import socket
import time
from pathlib import Path

from nimctl.core.errors import DeadlineError, NetworkError
from nimctl.core.plan import Configure
from nimctl.core.router import haproxy_config
from nimctl.serving import keyfiles

_BACKEND = "replicas"
_TIMEOUT_S = 5.0
_POLL_S = 0.05
# Checks come every second.
_CHECKED_S = 15.0


def configure(step: Configure) -> None:
    """Write what HAProxy reads when it starts."""
    router = step.router
    directory = Path(router.directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if step.api_key_file and step.generate_api_key:
        keyfiles.generate(Path(step.api_key_file))
    made = [Path(router.config_file)]
    if step.api_key_file:
        keys = Path(step.api_key_file).read_text(encoding="utf-8").split()
        digests = (hashlib.sha256(key.encode()).hexdigest() for key in keys)
        made.append(Path(router.hashes_file))
        keyfiles.write(made[-1], "\n".join(digests))
    if router.certificate:
        made.append(Path(router.certificate_file))
        keyfiles.write(made[-1], Path(router.certificate).read_text(encoding="utf-8"))
    Path(router.config_file).write_text(haproxy_config(router), encoding="utf-8")
    Path(router.socket).unlink(missing_ok=True)
    for path in made:
        keyfiles.give_to(step.user, path)


def drain(router_socket: Path, replica: str, timeout_s: float) -> None:
    """Send a replica no more requests, and wait until it has none.

    Raises:
        DeadlineError: It still has some when the time is over.
        NetworkError: The router does not answer.
    """
    _command(router_socket, f"set server {_BACKEND}/{replica} state drain")
    deadline = time.monotonic() + timeout_s
    while _requests(router_socket, replica):
        if time.monotonic() > deadline:
            raise DeadlineError(
                f"{replica} still has requests after {timeout_s:g} seconds",
                hint="allow more with --drain-timeout",
            )
        time.sleep(_POLL_S)


def admit(router_socket: Path, replica: str) -> None:
    """Send a replica requests again, and wait until its health check has succeeded.

    Raises:
        DeadlineError: It has not, after several checks.
        NetworkError: The router does not answer.
    """
    _command(router_socket, f"set server {_BACKEND}/{replica} state ready")
    deadline = time.monotonic() + _CHECKED_S
    # `UP 1/3` is one that had failed two checks while it was replaced: a third one, begun before it
    # was ready, takes it out again half a second later, when the next replica may be drained.
    while _row(router_socket, replica).get("status") != "UP":
        if time.monotonic() > deadline:
            raise DeadlineError(
                f"the router finds {replica} not healthy", hint=f"nimctl logs {replica}"
            )
        time.sleep(_POLL_S)


def serving(router_socket: Path) -> frozenset[str]:
    """The replicas that get requests: their health checks succeed, and nothing drains them.

    Raises:
        NetworkError: The router does not answer.
    """
    rows = _rows(router_socket)
    return frozenset(row["svname"] for row in rows if row["status"].startswith("UP"))


def _requests(router_socket: Path, replica: str) -> int:
    row = _row(router_socket, replica)
    return int(row.get("scur") or 0) + int(row.get("qcur") or 0)


def _row(router_socket: Path, replica: str) -> dict[str, str]:
    return next((row for row in _rows(router_socket) if row["svname"] == replica), {})


def _rows(router_socket: Path) -> list[dict[str, str]]:
    """What HAProxy tells of each replica, and of all together as `BACKEND`."""
    text = _command(router_socket, "show stat").removeprefix("# ")
    return [row for row in csv.DictReader(text.splitlines()) if row["pxname"] == _BACKEND]


def _connect(connection: socket.socket, path: Path) -> None:
    """Connect by way of the directory's descriptor: a socket's path has 107 bytes at most."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        connection.connect(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)


def _command(router_socket: Path, words: str) -> str:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT_S)
            _connect(connection, router_socket)
            connection.sendall(f"{words}\n".encode())
            chunks = []
            while chunk := connection.recv(65536):
                chunks.append(chunk)
    except OSError as error:
        raise NetworkError(
            f"the router does not answer on {router_socket}",
            cause=str(error),
            hint="nimctl ps shows whether it runs",
        ) from error
    return b"".join(chunks).decode(errors="replace")
