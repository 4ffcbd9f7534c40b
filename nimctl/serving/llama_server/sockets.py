"""The sockets of this process that llama.cpp owns, reached by their file descriptors.

Only Linux shows them (/proc/self/fd); elsewhere there seem to be none that listen.
"""

import contextlib
import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

_KNOCK_TIMEOUT_S = 1.0


def refuse_connections() -> None:
    """Close every listening socket, without the knowledge of the server that accepts from it.

    Each descriptor is made to refer to a socket that nobody connects to. To shut the listening
    socket down instead ends the server's accept loop, and cpp-httplib then cuts streamed answers.
    """
    if sys.platform != "linux":
        return
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind("")  # the kernel makes up a name: unix(7), autobind
        silent.listen()
        for descriptor, listener in _sockets():
            if descriptor == silent.fileno() or not _listens(listener):
                continue
            os.dup2(silent.fileno(), descriptor, inheritable=False)
            _knock(listener)


def connected() -> bool:
    """Tell whether any socket has a peer; outside of Linux always so."""
    return sys.platform != "linux" or any(not _listens(each) for _, each in _sockets())


def _knock(listener: socket.socket) -> None:
    """Connect once: an accept that waits keeps the old socket open until someone comes."""
    with socket.socket(listener.family) as client, contextlib.suppress(OSError):
        client.settimeout(_KNOCK_TIMEOUT_S)
        client.connect(listener.getsockname())


def _listens(each: socket.socket) -> bool:
    return bool(each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _sockets() -> Iterator[tuple[int, socket.socket]]:
    """Each socket's descriptor and a duplicate that lives until the next one is asked for."""
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            descriptor = int(entry.name)
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with socket.socket(fileno=os.dup(descriptor)) as duplicate:
                yield descriptor, duplicate
