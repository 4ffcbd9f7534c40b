"""HAProxy, and replicas that are only as healthy as a test says."""

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from urllib.request import urlopen

import pytest
from router_groups import Group
from waiting import until

from nimctl.core.errors import DeadlineError
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


def test_a_drain_lasts_until_the_last_request_is_answered(balanced: Balanced) -> None:
    at, where = Path(balanced.router.socket), ("127.0.0.1", balanced.replica_port)
    asked, finish = threading.Event(), threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection:
            if not connection.recv(4096).startswith(b"GET /health"):
                asked.set()
                finish.wait()
            connection.sendall(OK)

    def serve(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listening.accept()[0],)).start()

    with socket.create_server(where) as listening, ThreadPoolExecutor(2) as pool:
        threading.Thread(target=serve, args=(listening,)).start()
        routers.admit(at, "r-1")
        try:
            answered = pool.submit(urlopen, f"http://127.0.0.1:{balanced.router.port}/slow")
            asked.wait()
            with pytest.raises(DeadlineError, match="r-1 still has requests"):
                routers.drain(at, "r-1", 0.2)
            drained = pool.submit(routers.drain, at, "r-1", 60)
            # It looks every 50 ms.
            assert wait([drained], timeout=0.5).not_done
            finish.set()
            drained.result()
            assert answered.result().status == HTTPStatus.OK
            # Which nobody would get that asks now.
            assert routers.serving(at) == frozenset()
        finally:
            finish.set()
            listening.shutdown(socket.SHUT_RDWR)
