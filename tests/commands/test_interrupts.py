"""Signals while bytes move: the right status, no traceback, and the next run goes on."""

import hashlib
import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from conftest import Run
from fileserver import FileServer, Served

from nimctl.core.layout import Layout

CONTENT = random.Random(3).randbytes(16 * 2**20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def files() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


@pytest.mark.parametrize(
    ("sent", "code", "word"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGKILL, -9, ""),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGKILL"],
)
def test_an_interrupted_pull_goes_on_where_it_stopped(
    run: Run,
    environ: dict[str, str],
    layout: Layout,
    files: FileServer,
    sent: signal.Signals,
    code: int,
    word: str,
) -> None:
    url = files.put("model.gguf", Served(CONTENT, bytes_per_s=2 * 2**20))
    child = subprocess.Popen(
        [sys.executable, "-m", "nimctl", "pull", f"{url}#sha256={SHA256}", "--progress", "json"],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    for line in child.stderr:
        event = json.loads(line)
        if event["type"] == "Progressed" and event["done"] > 6 * 2**20:
            break
    child.send_signal(sent)
    _, err = child.communicate(timeout=60)
    assert child.returncode == code
    assert "Traceback" not in err
    if word:
        assert f"error: {word}" in err
        assert "goes on where it stopped" in err
    assert not layout.blob(SHA256).exists()

    files.heal("model.gguf")
    again = run("pull", f"{url}#sha256={SHA256}", "--json")
    assert again.code == 0, again
    assert layout.blob(SHA256).read_bytes() == CONTENT
    report = again.json
    assert report["bytes_fetched"] + report["bytes_reused"] == len(CONTENT)
    assert files.body_bytes <= report["bytes_fetched"] + 2**20
    if sent != signal.SIGKILL:
        assert report["bytes_reused"] >= 6 * 2**20
