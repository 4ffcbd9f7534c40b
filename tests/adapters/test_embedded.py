"""The parent's side of embedded servers, with real processes that behave badly."""

import http.server
import threading
from collections.abc import Iterator

import msgspec
import pytest

from nimctl.core.errors import DeadlineError, NotFoundError, ServerDiedError, UsageError
from nimctl.core.layout import Layout
from nimctl.core.plan import Await, Launch
from nimctl.core.servers import Server
from nimctl.serving.embedded import EmbeddedServers
from nimctl.serving.health import answers, free_port


@pytest.fixture
def servers(layout: Layout) -> Iterator[EmbeddedServers]:
    several = EmbeddedServers(layout)
    yield several
    for name in several.running():
        several.stop(name, grace_s=0)


def server(name: str = "it") -> Server:
    return Server(
        name=name,
        model="m",
        reference="m",
        profile="p",
        backend="llama_cpp",
        url="http://127.0.0.1:9",
    )


def launch(*argv: str, name: str = "it") -> Launch:
    return Launch(server=server(name), argv=argv, detach=True)


def ready(timeout_s: float = 30, name: str = "it") -> Await:
    return Await(server=server(name), timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("script", "how"),
    [
        ("exit 0", "exit status 0"),
        ("exit 3", "exit status 3"),
        ("kill -9 $$", "killed by SIGKILL"),
        ("kill -ILL $$", "killed by SIGILL"),
    ],
)
def test_an_end_before_ready_is_a_failure_whatever_its_status(
    servers: EmbeddedServers, script: str, how: str
) -> None:
    servers.launch(launch("sh", "-c", f"echo loading; echo error: no such tensor; {script}"))
    with pytest.raises(ServerDiedError, match=how) as caught:
        servers.wait_ready(ready())
    assert caught.value.cause == "no such tensor"


def test_another_server_on_the_port_does_not_make_this_one_ready(servers: EmbeddedServers) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        here = msgspec.structs.replace(server(), url=f"http://127.0.0.1:{other.server_port}")
        script = "sleep 0.5; echo error: the port is taken; exit 1"
        servers.launch(Launch(server=here, argv=("sh", "-c", script), detach=True))
        with pytest.raises(ServerDiedError) as caught:
            servers.wait_ready(Await(server=here, timeout_s=30))
        other.shutdown()
    assert caught.value.cause == "the port is taken"


def test_without_an_error_line_the_last_line_is_the_cause(servers: EmbeddedServers) -> None:
    servers.launch(launch("sh", "-c", "echo one; echo two; exit 1"))
    with pytest.raises(ServerDiedError) as caught:
        servers.wait_ready(ready())
    assert caught.value.cause == "two"


def test_a_server_that_is_not_ready_in_time_is_stopped(servers: EmbeddedServers) -> None:
    servers.launch(launch("sleep", "600"))
    with pytest.raises(DeadlineError, match=r"within 0\.2 seconds"):
        servers.wait_ready(ready(timeout_s=0.2))
    assert servers.running() == {}


def test_a_server_that_does_not_end_is_killed(layout: Layout, servers: EmbeddedServers) -> None:
    deaf = "trap '' USR1; echo deaf; while :; do sleep 0.05; done"
    for name, owner in (("ours", servers), ("anothers", EmbeddedServers(layout))):
        servers.launch(launch("sh", "-c", deaf, name=name))
        while "deaf" not in servers.log(name).read_text():
            pass
        assert owner.stop(name, grace_s=0.2) is False
        assert servers.find(name).state == "exited"
        assert servers.stop(name) is True  # stopping what has ended is no failure


def test_a_server_that_runs_is_neither_replaced_nor_removed(servers: EmbeddedServers) -> None:
    servers.launch(launch("sleep", "600"))
    with pytest.raises(UsageError, match="runs already"):
        servers.launch(launch("sleep", "600"))
    with pytest.raises(UsageError, match="is running"):
        servers.remove("it")


def test_an_unknown_name_is_not_found_and_the_others_are_named(servers: EmbeddedServers) -> None:
    servers.launch(launch("sleep", "600"))
    with pytest.raises(NotFoundError) as caught:
        servers.find("that")
    assert caught.value.cause == "there are it"


def test_a_program_that_cannot_be_started_leaves_no_server(servers: EmbeddedServers) -> None:
    with pytest.raises(FileNotFoundError):
        servers.launch(launch("/nowhere/python"))
    assert list(servers.all()) == []


@pytest.mark.parametrize(("status", "expected"), [(200, True), (503, False)])
def test_only_http_200_is_ready(status: int, expected: bool) -> None:  # noqa: FBT001 - a table
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert answers(f"http://127.0.0.1:{server.server_port}", "/health", 10) is expected
        thread.join()


def test_a_port_that_listens_is_taken_and_zero_finds_a_free_one() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        assert free_port("127.0.0.1", server.server_port) is None
    chosen = free_port("127.0.0.1", 0)
    assert chosen
    assert free_port("127.0.0.1", chosen) == chosen


def test_only_what_this_process_launched_is_stopped(layout: Layout) -> None:
    mine, others = EmbeddedServers(layout), EmbeddedServers(layout)
    others.launch(launch("sleep", "600", name="theirs"))
    mine.launch(launch("sleep", "600", name="mine"))
    with pytest.raises(UsageError):
        mine.launch(launch("sleep", "600", name="theirs"))
    mine.stop_launched()
    assert list(others.running()) == ["theirs"]
    others.stop_launched()
    assert others.running() == {}
