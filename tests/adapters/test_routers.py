"""HAProxy, and replicas that are only as healthy as a test says."""

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from router_groups import Group
from waiting import until

from nimctl.core.plan import Configure
from nimctl.core.router import Replica, Router, haproxy_argv
from nimctl.serving import routers
from nimctl.serving.health import free_ports

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Balanced:
    """A router before one replica, `r-1`, on a port where nobody listens yet."""

    def __init__(self, directory: Path) -> None:
        port, self.replica_port = free_ports(2)
        self.router = Router(
            name="r",
            directory=str(directory),
            address="127.0.0.1",
            port=port,
            replicas=(Replica(name="r-1", port=self.replica_port),),
            health_path="/health",
        )
        self.metric: Callable[..., float] = Group({}, "r", f"http://127.0.0.1:{port}").metric
        routers.configure(Configure(router=self.router))


@pytest.fixture
def balanced(tmp_path: Path) -> Iterator[Balanced]:
    made = Balanced(tmp_path / "router")
    with subprocess.Popen(haproxy_argv(made.router)) as process:
        until(Path(made.router.socket).exists)
        yield made
        process.terminate()


@contextmanager
def answering(listening: socket.socket) -> Iterator[None]:
    """Every check succeeds."""
    done = threading.Event()

    def answer() -> None:
        while not done.is_set():
            with suppress(OSError), listening.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(OK)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        done.set()
        socket.create_connection(listening.getsockname()).close()
        thread.join()


def test_a_replica_is_admitted_by_a_check_that_succeeds_and_not_by_those_before_it_was_replaced(
    balanced: Balanced,
) -> None:
    at, where = Path(balanced.router.socket), ("127.0.0.1", balanced.replica_port)
    with socket.create_server(where) as old, answering(old):
        routers.admit(at, "r-1")
    failed = balanced.metric("check_failures_total", 1)
    # Twice is not enough to take it out.
    until(lambda: balanced.metric("check_failures_total", 1) >= failed + 2)
    with socket.create_server(where) as new, ThreadPoolExecutor(1) as pool:
        # The third check meets one that does not answer yet.
        slow, _ = new.accept()
        admitted = pool.submit(routers.admit, at, "r-1")
        with slow, answering(new):
            admitted.result()
            assert balanced.metric("check_status", 1, state="L7OK") == 1
            assert "r-1" in routers.serving(at)
