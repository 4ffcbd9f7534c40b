"""The embedded server's process, run on nimctl's own demo model."""

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from gguf_fixtures import edit_json

import nimctl
from nimctl.engines.gguf.convert import convert

DEMO = Path(nimctl.__file__).parent / "models" / "capitals-demo"
PROGRAM = (sys.executable, "-m", "nimctl.serving.llama_server")
# Only a hang takes this long.
LIVENESS_S = 60


class Running(NamedTuple):
    """A server that answers at `url`."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path


class Answer(NamedTuple):
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str


def convert_demo(folder: Path, *, context: int = 512) -> Path:
    """The demo model as GGUF; it makes sense up to 512 tokens and computes up to `context`."""
    checkpoint = Path(shutil.copytree(DEMO, folder / "checkpoint"))
    edit_json(checkpoint / "config.json", max_position_embeddings=context)
    model = folder / "demo.gguf"
    convert(checkpoint, model, precision="f16", progress=lambda _done, _total: None)
    return model


def start(model: Path, log: Path, *flags: str | Path) -> subprocess.Popen[bytes]:
    """Start a server on a port that the system chooses, with one thread for the model."""
    argv = [*PROGRAM, "--model", model, "--port", "0", "--threads", "1", *flags]
    with log.open("wb") as output:
        return subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT)


def wait_until_it_listens(log: Path) -> str:
    """The URL that a server has written into its log."""
    deadline = time.monotonic() + LIVENESS_S
    while time.monotonic() < deadline:
        for line in log.read_text("utf-8").splitlines(keepends=True):
            if line.startswith("listening on ") and line.endswith("\n"):
                return line.removeprefix("listening on ").strip()
        time.sleep(0.01)
    raise AssertionError(log.read_text("utf-8"))


@contextlib.contextmanager
def running(model: Path, folder: Path, *flags: str | Path) -> Iterator[Running]:
    """A server for the duration of the block."""
    log = folder / "server.log"
    process = start(model, log, *flags)
    try:
        yield Running(process, wait_until_it_listens(log), log)
    finally:
        process.kill()
        process.wait()


def get(url: str, **headers: str) -> Answer:
    """GET without the OpenAI client."""
    return request("GET", url, **headers)


def request(method: str, url: str, **headers: str) -> Answer:
    """A request without a body; underscores in header names stand for dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        response = urlopen(Request(url, headers=named, method=method), timeout=LIVENESS_S)
    except HTTPError as error:
        response = error
    with response:
        lowered = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, lowered, response.read().decode())
