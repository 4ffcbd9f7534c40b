"""What finished files became, until that is noted down for good."""

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

_LINE = re.compile(rb"([0-9a-f]{64}) ([0-9a-f]{64})\n")


class Receipts:
    """The sha256 under which files of one fetch lie in the store, by transfer id.

    Only files need them whose sha256 is not known beforehand: after a kill nothing else would tell
    that the store has them. What has no id to be found by has its sha256 in place of it. A line is
    appended for each, many at a time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, str]:
        """All that was noted; a line that is cut off was not."""
        with contextlib.suppress(FileNotFoundError):
            return {
                id_.decode(): sha256.decode()
                for id_, sha256 in _LINE.findall(self._path.read_bytes())
            }
        return {}

    def add(self, results: Iterable[tuple[str, str]]) -> None:
        """Note what files are about to become."""
        lines = b"".join(b"%b %b\n" % (id_.encode(), sha.encode()) for id_, sha in results)
        if lines:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o644)
            try:
                os.write(descriptor, lines)
            finally:
                os.close(descriptor)

    def remove(self) -> None:
        """Remove the notes."""
        self._path.unlink(missing_ok=True)
