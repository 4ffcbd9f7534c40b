"""Work that goes along with a transfer: a file's bytes are used while the rest is on its way."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from nimctl.core.errors import VerificationError


class Made(NamedTuple):
    """What a follower made: files, each with its sha256, which lie on the store's file system.

    `note` is a word about it for the user.
    """

    files: tuple[tuple[Path, str], ...]
    note: str


class Follower(Protocol):
    """Takes the bytes of one file in order, from the first to the last, once they are hashed.

    Whenever hashing begins anew, so does another follower. `close` may come from any thread at any
    time; after it, `feed` does nothing.
    """

    def feed(self, view: memoryview) -> None:
        """Take the bytes that follow; they may change as soon as this has returned.

        Raises:
            VerificationError: They are no good, and no digest will tell whether they are right.
            DiskFullError: There is no room for what is made of them.
        """
        ...

    def finish(self) -> Made:
        """Say that these were all bytes, and that they are the right ones.

        Raises:
            VerificationError: They are no good.
            DiskFullError: There is no room for what is made of them.
        """
        ...

    def close(self) -> None:
        """Remove what was made and has not been taken."""
        ...


MakeFollower: TypeAlias = Callable[[], Follower]


class Following:
    """The followers of one download, at most one at a time.

    `made` is there in the end. If the file was refused as no good, keeping it is of no use.
    """

    def __init__(self, make: MakeFollower) -> None:
        self.made: Made | None = None
        self.has_refused = False
        self._make = make
        self._follower: Follower | None = None

    def begin(self) -> Callable[[memoryview], None]:
        """Begin anew; returns what takes the bytes."""
        self.close()
        self._follower = self._make()
        return partial(self._feed, self._follower)

    def finish(self) -> None:
        """Have the present follower finish.

        Raises:
            NimctlError: As `Follower.finish`.
        """
        if self._follower:
            with self._noting_refusal():
                self.made = self._follower.finish()

    def close(self) -> None:
        """Remove what was made and has not been taken."""
        if self._follower:
            self._follower.close()

    def _feed(self, follower: Follower, view: memoryview) -> None:
        with self._noting_refusal():
            follower.feed(view)

    @contextlib.contextmanager
    def _noting_refusal(self) -> Iterator[None]:
        try:
            yield
        except VerificationError:
            self.has_refused = True
            raise
