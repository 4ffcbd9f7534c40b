"""Models that are served slowly, for pulls that do not end by themselves."""

import hashlib
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

from fileserver import FileServer, Served
from formats import tar_of
from hub import Hub

CONNECTIONS = 2
RANGE_BYTES = 32 * 1024
FILES = {f"part-{number}": random.Random(number).randbytes(2**18 + number) for number in range(8)}
CONTENT = b"".join(FILES.values())


BYTES_PER_S = 4 * 2**20


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
    name: str, content: bytes, files: Mapping[str, bytes], speed: float, fragment: str = ""
) -> Iterator[Source]:
    with FileServer() as server:
        url = server.put(name, Served(content, bytes_per_s=round(BYTES_PER_S * speed)))
        yield Source(url + fragment, files, len(content), lambda: server.body_bytes)


def file_with_a_digest(speed: float = 1) -> AbstractContextManager[Source]:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    return web("model.gguf", CONTENT, {"model.gguf": CONTENT}, speed, f"#sha256={sha256}")


def file_without_a_digest(speed: float = 1) -> AbstractContextManager[Source]:
    return web("model.gguf", CONTENT, {"model.gguf": CONTENT}, speed)


def archive_with_a_digest(speed: float = 1) -> AbstractContextManager[Source]:
    data = tar_of(FILES, "w:gz")
    return web("m.tar.gz", data, FILES, speed, f"#sha256={hashlib.sha256(data).hexdigest()}")


def archive_without_a_digest(speed: float = 1) -> AbstractContextManager[Source]:
    return web("m.tar", tar_of(FILES), FILES, speed)


@contextmanager
def repository(speed: float = 1) -> Iterator[Source]:
    """Some files whose sha256 is known, and many of which only Git's id is."""
    small = {f"{number}.json": b"%d" % number * 3000 for number in range(60)}
    files = {**{f"{name}.bin": content for name, content in FILES.items()}, **small}
    with Hub() as hub:
        hub.add("org/model", files)
        hub.faults.pause_s = 0.01 / speed
        size = sum(map(len, files.values()))
        source = Source("hf://org/model", files, size, lambda: hub.body_bytes)
        source.environ = {"HF_ENDPOINT": hub.endpoint}
        yield source


Sources: TypeAlias = Callable[[float], AbstractContextManager[Source]]
SOURCES: list[Sources] = [
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
