"""kill -9 at fifty random moments: no wrong byte under a final name, and nothing comes twice."""

import hashlib
import io
import json
import random
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from conftest import Run
from fileserver import FileServer, Served
from hub import Hub

from nimctl.core.layout import Layout
from nimctl.store.blobs import BlobStore

KILLS = 10
LATE_KILLS = 3  # there is more to go wrong at the end
CONNECTIONS = 2
RANGE_BYTES = 32 * 1024
FILES = {f"part-{number}": random.Random(number).randbytes(2**18 + number) for number in range(8)}
CONTENT = b"".join(FILES.values())


class Source:
    """A model that is served slowly.

    `files` it has, in `size` bytes as they are sent; `sent` tells how many were.
    """

    def __init__(
        self, url: str, files: Mapping[str, bytes], size: int, sent: Callable[[], int]
    ) -> None:
        self.url = url
        self.files = files
        self.size = size
        self.sent = sent
        self.environ: dict[str, str] = {}


@contextmanager
def web(
    name: str, content: bytes, files: Mapping[str, bytes], fragment: str = ""
) -> Iterator[Source]:
    with FileServer() as server:
        url = server.put(name, Served(content, bytes_per_s=4 * 2**20))
        yield Source(url + fragment, files, len(content), lambda: server.body_bytes)


def file_with_a_digest() -> AbstractContextManager[Source]:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    return web("model.gguf", CONTENT, {"model.gguf": CONTENT}, f"#sha256={sha256}")


def file_without_a_digest() -> AbstractContextManager[Source]:
    return web("model.gguf", CONTENT, {"model.gguf": CONTENT})


def archive(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def archive_with_a_digest() -> AbstractContextManager[Source]:
    data = archive("w:gz")
    return web("m.tar.gz", data, FILES, f"#sha256={hashlib.sha256(data).hexdigest()}")


def archive_without_a_digest() -> AbstractContextManager[Source]:
    return web("m.tar", archive("w"), FILES)


@contextmanager
def repository() -> Iterator[Source]:
    """Some files whose sha256 is known, and many of which only Git's id is."""
    small = {f"{number}.json": b"%d" % number * 3000 for number in range(60)}
    files = {**{f"{name}.bin": content for name, content in FILES.items()}, **small}
    with Hub() as hub:
        hub.add("org/model", files)
        hub.faults.pause_s = 0.01
        size = sum(map(len, files.values()))
        source = Source("hf://org/model", files, size, lambda: hub.body_bytes)
        source.environ = {"HF_ENDPOINT": hub.endpoint}
        yield source


SOURCES = [
    file_with_a_digest,
    file_without_a_digest,
    archive_with_a_digest,
    archive_without_a_digest,
    repository,
]


def pull(source: Source, environ: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    limits = ["--connections", str(CONNECTIONS), "--range-size", str(RANGE_BYTES)]
    return subprocess.Popen(
        [sys.executable, "-m", "nimctl", "pull", source.url, "--json", "-q", *limits],
        env={**environ, **source.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for_a_moment(
    process: "subprocess.Popen[bytes]", source: Source, dice: random.Random, *, is_late: bool
) -> None:
    """Let it fetch for a while, or nearly all; then go on for some milliseconds."""
    enough = source.size if is_late else source.sent() + dice.randrange(source.size // 6)
    while process.poll() is None and source.sent() <= enough:
        time.sleep(0.001)
    time.sleep(dice.uniform(0.0, 0.05 if is_late else 0.01))


@pytest.mark.parametrize("make", SOURCES, ids=lambda make: make.__name__)
def test_a_pull_that_is_killed_at_any_moment_goes_on(
    run: Run,
    environ: dict[str, str],
    layout: Layout,
    make: Callable[[], AbstractContextManager[Source]],
) -> None:
    dice = random.Random(make.__name__)
    blobs = BlobStore(layout)
    with make() as source:
        for number in range(KILLS):
            with pull(source, environ) as process:
                wait_for_a_moment(process, source, dice, is_late=number >= KILLS - LATE_KILLS)
                process.kill()
                process.communicate()
            assert all(blobs.check(sha256) for sha256 in blobs)
        with pull(source, environ) as process:
            out, err = process.communicate()
        assert process.returncode == 0, err
        report = json.loads(out)

        found = {one["name"]: Path(one["path"]).read_bytes() for one in report["files"]}
        assert found == source.files
        probes_bytes = KILLS + 1
        lost_bytes = source.sent() - source.size - probes_bytes
        assert lost_bytes <= KILLS * CONNECTIONS * RANGE_BYTES
        assert run("verify").code == 0
    assert not list((layout.root / "blobs" / "partial").iterdir())
