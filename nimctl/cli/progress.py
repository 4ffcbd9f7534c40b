"""Events become progress: bars on a terminal, lines elsewhere, NDJSON on request."""

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

import msgspec

from nimctl.cli.units import size
from nimctl.core.events import Event, Finished, Noted, Progressed, Reached, Started

if TYPE_CHECKING:
    import rich.progress

# A bar, `100.0/200.0 MiB`, `100.0 MiB/s`, `0:00:00`, and a space before each.
_BAR_COLUMNS = 14
_FIGURES_COLUMNS = _BAR_COLUMNS + 15 + 11 + 7 + 4
_SHORTEST_NAME = 12
_LINE_INTERVAL_S = 10.0
# For the cursor, and what is said at the end.
_BELOW_BARS_LINES = 2
# Of a model's files the weights are worth a line of their own.
_SMALL_BYTES = 16 * 2**20


class Progress(Protocol):
    """A consumer of events, open for the time of one plan."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        ...


def make(style: str, stream: TextIO, *, verbose: bool = False) -> Progress:
    """Choose by name; `auto` draws bars on a terminal and prints lines elsewhere.

    With `verbose`, tasks that move no bytes are named too.
    """
    if style == "auto":
        style = "tty" if stream.isatty() else "plain"
    makers: dict[str, Callable[..., Progress]] = {
        "tty": Bars,
        "plain": Lines,
        "json": Ndjson,
        "none": Silence,
    }
    return makers[style](stream, verbose=verbose)


class Silence:
    """Shows nothing."""

    def __init__(self, stream: TextIO, *, verbose: bool = False) -> None:
        self._stream = stream
        self._verbose = verbose

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to tidy up."""

    def __call__(self, event: Event) -> None:
        """Ignore an event."""


class Ndjson(Silence):
    """One JSON object a line, with its kind under `type`."""

    def __call__(self, event: Event) -> None:
        """Write an event."""
        self._stream.write(msgspec.json.encode(event).decode() + "\n")
        self._stream.flush()


class Lines(Silence):
    """A line when a task ends, and every ten seconds while one runs; small parts say nothing."""

    def __init__(
        self,
        stream: TextIO,
        *,
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(stream, verbose=verbose)
        self._clock = clock
        self._tasks: dict[str, Started] = {}
        self._first: dict[str, tuple[int, float]] = {}
        self._spoke = self._clock()

    def __call__(self, event: Event) -> None:
        """Write a line when there is something to say."""
        match event:
            case Started():
                self._tasks[event.task] = event
                self._first.pop(event.task, None)
                if self._verbose:
                    self._say(event.title)
            case Progressed() if event.task not in self._first:
                # What an earlier run left is there at once and says nothing of the rate.
                self._first[event.task] = event.done, self._clock()
            case Progressed() if self._clock() - self._spoke > _LINE_INTERVAL_S:
                self._say(self._so_far(event))
            case Finished():
                started = self._tasks.pop(event.task, None)
                if started and started.total is not None and not _is_small_part(started):
                    note = f" ({event.note})" if event.note else ""
                    self._say(f"{started.title}: {size(started.total)}{note}")
            case Reached():
                self._say(f"{self._tasks[event.task].title}: {event.stage}")
            case Noted():
                self._say(event.message)
            case _:
                pass

    def _so_far(self, event: Progressed) -> str:
        started = self._tasks[event.task]
        done, began = self._first[event.task]
        rate = (event.done - done) / max(self._clock() - began, 1e-3)
        text = f"{started.title}: {size(event.done)}"
        if started.total:
            text += f" of {size(started.total)}, {100 * event.done // started.total} %"
        return f"{text}, {size(round(rate))}/s"

    def _say(self, line: str) -> None:
        self._spoke = self._clock()
        self._stream.write(line + "\n")
        self._stream.flush()


class Bars(Silence):
    """One bar a file and one for all, with rate and time left.

    Small files leave when they end, others when there is no room for those that follow.
    """

    def __init__(self, stream: TextIO, *, verbose: bool = False) -> None:
        super().__init__(stream, verbose=verbose)
        self._bars: rich.progress.Progress | None = None
        self._ids: dict[str, rich.progress.TaskID] = {}
        self._tasks: dict[str, Started] = {}
        self._done: dict[str, int] = {}
        self._ended: deque[str] = deque()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the bars as they stand."""
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Move the bars; tasks that move no bytes have none."""
        match event:
            case Started() if event.total is not None or event.parent:
                self._tasks[event.task] = event
                self._make_room()
                self._ids[event.task] = self._drawn().add_task(event.title, total=event.total)
            case Started():
                self._tasks[event.task] = event
                if self._verbose:
                    self._say(event.title)
            case Progressed() if event.task in self._ids:
                self._move(event.task, event.done)
            case Finished() if event.task in self._ids:
                self._finish(event.task)
            case Reached():
                self._say(f"{self._tasks[event.task].title}: {event.stage}")
            case Noted():
                self._say(event.message)
            case _:
                pass

    def _say(self, line: str) -> None:
        if self._bars is not None:
            # Above the bars, which would otherwise be drawn over it.
            self._bars.console.print(line, markup=False, highlight=False)
        else:
            self._stream.write(line + "\n")

    def _make_room(self) -> None:
        """Let bars that are full leave, so that those that move are on the screen."""
        bars = self._drawn()
        while self._ended and len(bars.tasks) >= bars.console.height - _BELOW_BARS_LINES:
            bars.remove_task(self._ids.pop(self._ended.popleft()))

    def _move(self, task: str, done: int) -> None:
        parent = self._tasks[task].parent
        before = self._done.get(task, 0)
        self._done[task] = done
        self._drawn().update(self._ids[task], completed=done)
        if parent in self._ids:
            self._move(parent, self._done.get(parent, 0) + done - before)

    def _finish(self, task: str) -> None:
        started = self._tasks[task]
        self._move(task, self._done.get(task, 0) if started.total is None else started.total)
        if _is_small_part(started):
            self._drawn().remove_task(self._ids.pop(task))
        elif started.parent:
            self._ended.append(task)

    def _drawn(self) -> "rich.progress.Progress":
        if self._bars is None:
            # Imported late: a run that moves no bytes, such as `serve` of a pulled model, has none.
            from rich import progress as rich_progress
            from rich.console import Console
            from rich.table import Column

            class Rate(rich_progress.ProgressColumn):
                """Bytes a second in the units of all other output; rich's own counts in 1000s."""

                def render(self, task: rich_progress.Task) -> str:
                    return f"{size(round(task.finished_speed or task.speed or 0))}/s"

            console = Console(file=self._stream)
            self._bars = rich_progress.Progress(
                # A narrow screen cuts the name; figures stay whole, each bar on one line.
                rich_progress.TextColumn(
                    "{task.description}",
                    table_column=Column(
                        no_wrap=True,
                        overflow="ellipsis",
                        max_width=max(_SHORTEST_NAME, console.width - _FIGURES_COLUMNS),
                    ),
                ),
                rich_progress.BarColumn(_BAR_COLUMNS),
                rich_progress.DownloadColumn(binary_units=True, table_column=Column(no_wrap=True)),
                Rate(table_column=Column(no_wrap=True)),
                rich_progress.TimeRemainingColumn(table_column=Column(no_wrap=True)),
                console=console,
            )
            self._bars.start()
        return self._bars


def _is_small_part(started: Started) -> bool:
    return started.parent is not None and (started.total or 0) < _SMALL_BYTES
