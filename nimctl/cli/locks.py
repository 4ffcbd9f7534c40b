"""The lock file of `pull`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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


def write_lock(path: Path, outcome: "Outcome") -> None:
    """Add what came, or replace it."""
    from nimctl import documents
    from nimctl.core.lock import Lock

    lock = documents.read(path, Lock) or Lock()
    for brought in outcome.brought:
        lock = lock.holding(brought.artifact)
    documents.write(path, lock)
