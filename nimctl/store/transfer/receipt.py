"""What a finished file became, for a transfer whose id does not tell."""

import contextlib
from pathlib import Path


class Receipt:
    """The sha256 under which a file lies in the store, until its owner has noted that down.

    It is a symbolic link whose text is the sha256 and which leads nowhere: making and reading it
    take one call of the system each, and it is never seen half-written.
    """

    def __init__(self, part: Path) -> None:
        self._path = part.with_suffix(".done")

    def write(self, sha256: str) -> None:
        """Note what the file is about to become."""
        self.remove()
        self._path.symlink_to(sha256)

    def read(self) -> str | None:
        """What the file became; None when that was not noted."""
        with contextlib.suppress(FileNotFoundError):
            return str(self._path.readlink())
        return None

    def remove(self) -> None:
        """Remove the note if there is one."""
        self._path.unlink(missing_ok=True)
