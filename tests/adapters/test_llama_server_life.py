"""How the embedded server starts, fails to start, and ends."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from llama import LIVENESS_S, PROGRAM, Running, convert_demo, get, running, start

from nimctl.serving.llama_server.stopping import unfinished

CONTEXT = 8192
LONG, ENDLESS = 1000, 8000  # tokens: a good second for eight of them, many seconds for one


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert_demo(tmp_path_factory.mktemp("model"), context=CONTEXT)


def ask(client: openai.OpenAI, tokens: int) -> int:
    """How many tokens a plain answer has."""
    answer = client.completions.create(
        model="demo", prompt="one", max_tokens=tokens, extra_body={"ignore_eos": True}
    )
    assert answer.usage
    return answer.usage.completion_tokens


def ask_streaming(client: openai.OpenAI, tokens: int) -> int:
    """How many tokens a streamed answer has, if it came to its end."""
    last: Any = None
    for chunk in client.completions.create(
        model="demo",
        prompt="one",
        max_tokens=tokens,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"ignore_eos": True},
    ):
        last = chunk
    assert last.choices[0].finish_reason == "length"
    return int(last.usage.completion_tokens)


@contextmanager
def in_flight(
    server: Running, *kinds: Callable[[openai.OpenAI, int], int], tokens: int
) -> Iterator[list[Future[int]]]:
    """Requests that the server has begun to work on or that wait for a slot."""
    base = f"{server.url}/v1"
    with (
        openai.OpenAI(base_url=base, api_key="none", max_retries=0, timeout=LIVENESS_S) as client,
        ThreadPoolExecutor(len(kinds)) as pool,
    ):
        answers = [pool.submit(kind, client, tokens) for kind in kinds]
        while unfinished(get(f"{server.url}/metrics").text) < len(kinds):
            assert not any(answer.done() for answer in answers)
        yield answers


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGTERM]])
def test_requests_that_run_or_wait_for_a_slot_are_finished(
    model: Path, tmp_path: Path, signals: list[signal.Signals]
) -> None:
    kinds = [ask, ask_streaming] * 4
    with (
        running(model, tmp_path, "--parallel", "4", "--ctx-size", str(4 * 2048)) as server,
        in_flight(server, *kinds, tokens=LONG) as answers,
    ):
        for number in signals:
            server.process.send_signal(number)
        assert [answer.result() for answer in answers] == [LONG] * 8
        assert server.process.wait(LIVENESS_S) == 0


def address(server: Running) -> tuple[str, int]:
    parts = urlsplit(server.url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def listens(port: int) -> bool:
    """Whether any process does, on 127.0.0.1; unlike a connection, this has no effect."""
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    listening = "0A"  # TCP_LISTEN, <linux/tcp.h>
    return any(one[1] == f"0100007F:{port:04X}" and one[3] == listening for one in sockets)


def test_new_connections_are_refused_while_requests_are_finished(
    model: Path, tmp_path: Path
) -> None:
    with (
        running(model, tmp_path) as server,
        in_flight(server, ask_streaming, tokens=2 * LONG) as (answer,),
    ):
        server.process.terminate()
        while listens(address(server)[1]):
            assert not answer.done()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address(server))
        assert not answer.done()
        assert answer.result() == 2 * LONG


def test_an_idle_server_exits_with_0_though_clients_stay_connected(
    model: Path, tmp_path: Path
) -> None:
    with running(model, tmp_path) as server, socket.create_connection(address(server)):
        server.process.terminate()
        assert server.process.wait(LIVENESS_S) == 0


def test_the_same_signal_twice_ends_at_once(model: Path, tmp_path: Path) -> None:
    with (
        running(model, tmp_path) as server,
        in_flight(server, ask, tokens=ENDLESS) as (answer,),
    ):
        server.process.terminate()
        while server.process.poll() is None:
            server.process.terminate()
        assert server.process.returncode == 128 + signal.SIGTERM
        assert isinstance(answer.exception(), openai.APIConnectionError)


def test_requests_that_outlast_the_grace_are_cut_off(model: Path, tmp_path: Path) -> None:
    with (
        running(model, tmp_path, "--grace", "0.1") as server,
        in_flight(server, ask, tokens=ENDLESS) as (answer,),
    ):
        server.process.terminate()
        assert server.process.wait(LIVENESS_S) == 0
        assert isinstance(answer.exception(), openai.APIConnectionError)
        assert "cut off" in server.log.read_text()


def test_whoever_limits_the_time_himself_has_none_cut_off(model: Path, tmp_path: Path) -> None:
    with (
        running(model, tmp_path, "--grace", "0") as server,
        in_flight(server, ask_streaming, tokens=LONG) as (answer,),
    ):
        server.process.send_signal(signal.SIGUSR1)
        assert answer.result() == LONG
        assert server.process.wait(LIVENESS_S) == 0


def test_a_server_that_is_not_ready_yet_stops_at_once(model: Path, tmp_path: Path) -> None:
    template = tmp_path / "pipe"
    os.mkfifo(template)
    process = start(model, tmp_path / "log", "--chat-template-file", template)
    with template.open("wb"):  # returns when the server reads from the other end
        process.terminate()
        assert process.wait(LIVENESS_S) == 0


def test_a_server_ends_with_its_parent(model: Path) -> None:
    parent = (
        "import os, subprocess, sys\n"
        "me = str(os.getpid())\n"
        "subprocess.run([*sys.argv[1:], '--die-with-parent', me])\n"
    )
    argv = [sys.executable, "-c", parent, *PROGRAM, "--model", str(model), "--port", "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        assert process.stdout.readline().startswith(b"listening on")
        process.kill()
        # The pipe ends when the last process that can write into it has ended: the server.
        assert process.stdout.read() == b""


def test_a_server_whose_parent_is_gone_already_does_not_stay(model: Path, tmp_path: Path) -> None:
    process = start(model, tmp_path / "log", "--die-with-parent", str(os.getppid()))
    assert process.wait(LIVENESS_S) == 0


def failure(log: Path, *flags: str | Path) -> str:
    """The last line of a server that cannot start."""
    with log.open("wb") as output:
        status = subprocess.run(
            [*PROGRAM, *flags], stdout=output, stderr=output, timeout=LIVENESS_S, check=False
        ).returncode
    text = log.read_text("utf-8", errors="replace")
    assert status == 1, text
    assert "Traceback" not in text
    return text.splitlines()[-1]


def test_a_port_in_use_is_named(model: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = failure(tmp_path / "log", "--model", model, "--port", port)
    assert line.startswith("error: llama.cpp did not start: couldn't bind")
    assert port in line


def test_a_truncated_model_is_told(model: Path, tmp_path: Path) -> None:
    part = tmp_path / "part.gguf"
    part.write_bytes(model.read_bytes()[:200_000])
    line = failure(tmp_path / "log", "--model", part, "--port", "0")
    assert line.startswith("error: llama.cpp did not start: ")
    assert "corrupted or incomplete" in line


def test_a_file_that_is_no_model_is_told(tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(b"<html>" * 100)
    assert "expected 'GGUF'" in failure(tmp_path / "log", "--model", other, "--port", "0")


def test_where_the_log_cannot_be_read_again_the_error_points_to_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, "--model", tmp_path / "none.gguf", "--port", "0"],
        capture_output=True,
        text=True,
        timeout=LIVENESS_S,
        check=False,
    )
    assert done.returncode == 1
    assert "No such file" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: llama.cpp did not start: its log")


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--api-key-file", "none"), "cannot read none: No such file or directory"),
        (("--api-key-file", os.devnull), "there is no key in /dev/null"),
        (("--chat-template-file", "none"), "cannot read none: No such file or directory"),
        (("--cache-type-k", "f8"), "llama.cpp has no GGML_TYPE_F8"),
    ],
)
def test_an_unusable_value_is_named(
    model: Path, tmp_path: Path, flags: tuple[str, ...], reason: str
) -> None:
    line = failure(tmp_path / "log", "--model", model, "--port", "0", *flags)
    assert line == f"error: {reason}"
