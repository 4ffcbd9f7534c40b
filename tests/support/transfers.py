"""What the tests of transfers share: contents, files, and a store to fetch into."""

import hashlib
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from blake3 import blake3
from msgspec.structs import replace

from nimctl.core.events import Emit, Event
from nimctl.core.facts import DigestAlgorithm, File
from nimctl.core.layout import Layout
from nimctl.core.ports import Fetched, Location
from nimctl.store.blobs import BlobStore
from nimctl.store.transfer import Transfer, TransferOptions
from nimctl.store.transfer.follower import MakeFollower
from nimctl.store.transfer.state import State, decode

RANGE_BYTES = 64 * 1024

QUICK = TransferOptions(
    connections=4,
    range_bytes=RANGE_BYTES,
    backoff_s=0.001,
    backoff_limit_s=0.01,
    stall_timeout_s=20.0,
    retries=3,
    checkpoint_s=0.05,
)


def some_bytes(size: int, seed: int = 0) -> bytes:
    """The same random bytes each time."""
    return random.Random(seed).randbytes(size)


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_sha1_of(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%b" % (len(data), data), usedforsecurity=False).hexdigest()


def blake3_of(data: bytes) -> str:
    return blake3(data).hexdigest()


DIGEST_OF: dict[DigestAlgorithm, Callable[[bytes], str]] = {
    "sha256": sha256_of,
    "git-sha1": git_sha1_of,
    "blake3": blake3_of,
}


def digested(path: str, url: str, data: bytes) -> File:
    """A file whose size and sha256 the registry knows."""
    return File(path=path, url=url, size=len(data), digests={"sha256": sha256_of(data)})


def at_its_url(file: File) -> Location:
    """What a registry answers that has nothing to add."""
    return Location(url=file.url)


def ignore(_: Event) -> None:
    """For those who are not interested."""


class Store:
    """A blob store in a directory, and transfers into it."""

    def __init__(self, home: Path, options: TransferOptions = QUICK) -> None:
        self.layout = Layout(home=str(home))
        self.blobs = BlobStore(self.layout)
        self.options = options

    def fetch(
        self,
        *files: File,
        locate: Callable[[File], Location] = at_its_url,
        emit: Emit = ignore,
        follow: Mapping[str, MakeFollower] | None = None,
        **changes: Any,
    ) -> Sequence[Fetched]:
        """Fetch with `options`, changed as told, note it down, and leave no thread behind."""
        transfer = Transfer(self.blobs, replace(self.options, **changes))
        fetched = transfer.fetch(files, locate, emit, follow)
        transfer.forget(files)
        assert not self.threads
        return fetched

    @property
    def threads(self) -> list[threading.Thread]:
        """Threads of transfers that are still alive."""
        return [one for one in threading.enumerate() if one.name.startswith("transfer-")]

    def read(self, fetched: Fetched) -> bytes:
        """The bytes under a final name."""
        return self.blobs.path(fetched.sha256).read_bytes()

    def is_empty(self) -> bool:
        """Whether nothing has a final name."""
        return not list(self.blobs)

    @property
    def leftovers(self) -> list[str]:
        """What lies beside the blobs: parts, states, locks."""
        partial = self.layout.partial("x").parent
        return sorted(path.suffix for path in partial.iterdir()) if partial.exists() else []

    def part(self, transfer_id: str) -> Path:
        return self.layout.partial(transfer_id).with_suffix(".part")

    def state_path(self, transfer_id: str) -> Path:
        return self.layout.partial(transfer_id).with_suffix(".state")

    def state(self, transfer_id: str) -> State:
        """The saved state; it has to be there."""
        state = decode(self.state_path(transfer_id).read_bytes())
        assert state is not None
        return state

    def saved_bytes(self, transfer_id: str) -> int:
        """How many bytes an unfinished transfer has, as its state says."""
        if not self.state_path(transfer_id).exists():
            return 0
        return sum(piece.end - piece.start for piece in self.state(transfer_id).pieces)
