"""Words and tables: data to stdout, everything else to stderr."""

import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from nimctl.core.errors import NimctlError
from nimctl.core.reports import ErrorReport
from nimctl.core.value import Value

if TYPE_CHECKING:
    from nimctl.cli.progress import Progress


class Output:
    """Where a command's results and messages go."""

    def __init__(self, *, as_json: bool, quiet: bool, verbose: bool, progress: str) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose
        self._progress = progress

    def data(self, document: Value, lines: Callable[[], Iterable[str]]) -> None:
        """Print a result: the document with `--json`, otherwise `lines`."""
        self.data_of(lambda: document, lines)

    def data_of(self, document: Callable[[], Value], lines: Callable[[], Iterable[str]]) -> None:
        """The same with a document that takes something to make."""
        if self.as_json:
            sys.stdout.write(as_json(document()))
        else:
            sys.stdout.writelines(f"{line}\n" for line in lines())
        sys.stdout.flush()

    def note(self, message: str) -> None:
        """Tell the user something that is no data."""
        if not self.quiet:
            sys.stderr.write(f"{message}\n")

    def warn(self, problem: NimctlError) -> None:
        """Tell of something that failed and was left out; not even `--quiet` hides it."""
        because = f": {problem.cause}" if problem.cause else ""
        sys.stderr.write(f"warning: {problem.message}{because}\n")

    def progress(self) -> "Progress":
        """What consumes events."""
        from nimctl.cli.progress import make

        style = "none" if self.quiet else self._progress
        return make(style, sys.stderr, verbose=self.verbose)


def as_json(document: object) -> str:
    """A document as people read it: two spaces, one final newline."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def error_json(message: str, cause: str | None, hint: str | None, code: int) -> str:
    """An error as a document."""
    report = ErrorReport(error=message, cause=cause, hint=hint, exit_code=code)
    return as_json(report)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns two spaces apart under an upper-case header."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def fitted(
    header: Sequence[str], rows: Iterable[Sequence[str]], spare: Iterable[str], columns: int
) -> list[str]:
    """A table without some of the columns that can be spared, one after another, until it fits."""
    lines = [list(header), *map(list, rows)]
    for name in spare:
        made = table(lines[0], lines[1:])
        if max(map(len, made)) <= columns:
            return made
        without = lines[0].index(name)
        for line in lines:
            del line[without]
    return table(lines[0], lines[1:])


def screen_columns() -> int:
    """How wide a line may be to be read: the terminal's width, or 80 characters without one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 80
