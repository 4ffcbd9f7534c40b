"""The lock file of `pull`."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nimctl.core.lock import Lock
    from nimctl.core.reports import Outcome


def read_lock(path: Path) -> "Lock":
    """Read a lock file.

    Raises:
        NotFoundError: There is none.
    """
    from nimctl import documents
    from nimctl.core.errors import NotFoundError
    from nimctl.core.lock import Lock

    lock = documents.read(path, Lock)
    if lock is None:
        raise NotFoundError(f"there is no lock file {path}", hint="nimctl pull MODEL --lock")
    return lock


def check_lockable(reference: str, path: Path) -> None:
    """Keep out of lock files what opens a model to their readers.

    Raises:
        UsageError: The reference is a presigned URL.
    """
    from nimctl.core.errors import UsageError
    from nimctl.core.http import is_signed, redacted

    if is_signed(reference):
        raise UsageError(
            f"{redacted(reference)} is a signed URL, and {path} would hold its signature",
            hint="leave --lock out; #sha256=HEX behind a URL pins it too",
        )


@contextmanager
def holding_to(path: Path | None) -> "Iterator[None]":
    """Tell that it was a lock file which said what has to come, if it was."""
    from nimctl.core.errors import OtherContentError

    try:
        yield
    except OtherContentError as error:
        if path is None:
            raise
        raise OtherContentError(
            f"what came is not what {path} holds",
            cause=f"{error.message}: {error.cause}".replace("the registry promised", "was locked"),
            hint="if the model was meant to change, pull it with --lock instead of --locked",
        ) from error


def write_lock(path: Path, outcome: "Outcome") -> None:
    """Add what came, or replace it."""
    from nimctl import documents
    from nimctl.core.lock import Lock

    lock = documents.read(path, Lock) or Lock()
    for brought in outcome.brought:
        lock = lock.holding(brought.artifact)
    documents.write(path, lock)
