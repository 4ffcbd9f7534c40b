"""What archives may put below a directory: their names and sizes are checked here."""

from functools import partial

from nimctl.core.names import PathTree
from nimctl.store.extract.background import Background
from nimctl.store.extract.files import Files
from nimctl.store.extract.limits import ExtractLimits, exceeded
from nimctl.store.extract.refusals import malformed, refused


class Staging:
    """Takes an archive's entries in order; checks each, and has it written in the background."""

    def __init__(self, files: Files, background: Background, limits: ExtractLimits) -> None:
        self._files = files
        self._background = background
        self._limits = limits
        self._paths = PathTree()
        self._named: dict[str, None] = {}
        self._filled: set[str] = set()
        self._entries = 0
        self._total_bytes = 0
        self._name = ""
        self._expected: int | None = None
        self._written = 0

    @property
    def empty_directories(self) -> tuple[str, ...]:
        """The directories in which there is nothing, in the archive's order."""
        return tuple(path for path in self._named if path not in self._filled)

    def add_directory(self, name: str) -> None:
        """Make a directory; it may be there already.

        Raises:
            VerificationError: Its name is unsafe, or it is one too many.
        """
        self._admit(name)
        if name in (".", "./"):  # the directory that all lies in
            return
        path = _path(name.removesuffix("/"))
        self._paths.add_directory(path)
        self._named[path] = None
        self._fill_parents(path)
        self._background.submit(partial(self._files.make_directory, path))

    def begin(self, name: str, size: int | None) -> None:
        """Begin a file of `size` bytes; None while that is unknown.

        Raises:
            VerificationError: Its name is unsafe or taken, or it is one or too large too many.
        """
        self._admit(name)
        path = _path(name)
        self._paths.add_file(path)
        self._fill_parents(path)
        self._check_total(size or 0)
        self._name, self._expected, self._written = path, size, 0
        self._background.submit(partial(self._files.begin, path, size))

    def write(self, piece: bytes | memoryview) -> None:
        """Append to the file; `piece` must never change.

        Raises:
            VerificationError: That is more than it said, or than is allowed.
        """
        self._check_total(len(piece))
        self._total_bytes += len(piece)
        self._written += len(piece)
        if self._expected is not None and self._written > self._expected:
            raise malformed(f"{self._name!r} is longer than the {self._expected} bytes it claims")
        self._background.submit(partial(self._files.append, piece), len(piece))

    def end(self) -> None:
        """Finish the file.

        Raises:
            VerificationError: It has fewer bytes than it said.
        """
        if self._expected is not None and self._written < self._expected:
            raise malformed(f"{self._name!r} is shorter than the {self._expected} bytes it claims")
        self._background.submit(self._files.end)

    def _admit(self, name: str) -> None:
        limits = self._limits
        self._entries += 1
        if self._entries > limits.max_members:
            raise exceeded(f"it has more than {limits.max_members} entries")
        if len(name.encode()) > limits.max_name_bytes:
            raise refused(name[:64] + "...", f"its name exceeds {limits.max_name_bytes} bytes")

    def _fill_parents(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        while parent and parent not in self._filled:
            self._filled.add(parent)
            parent = parent.rpartition("/")[0]

    def _check_total(self, more: int) -> None:
        most = self._limits.max_total_bytes
        if most is not None and self._total_bytes + more > most:
            raise exceeded(f"it unpacks to more than {most} bytes")


def _path(name: str) -> str:
    """The name without the `./` that `tar -c .` puts before all."""
    return name.removeprefix("./")
