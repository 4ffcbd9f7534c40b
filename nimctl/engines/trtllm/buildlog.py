"""What a build prints: kept whole in a file, followed for the stages that it reaches."""

from collections import deque
from pathlib import Path

from nimctl.core.closing import Closing
from nimctl.core.events import Emit, Noted, Reached
from nimctl.core.trtllm.log import stage_of

_TAIL_LINES = 400
_LINE_BYTES = 4000


class BuildLog(Closing):
    """The log of one build, open while it runs; each new build of the same engine begins anew."""

    def __init__(self, path: Path, task: str, emit: Emit) -> None:
        self.path = path
        self._task = task
        self._emit = emit
        self._last: str | None = None
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")

    def command(self, line: str) -> None:
        """Note what is run next."""
        self.tail.clear()
        self._file.write(f"$ {line}\n")
        self._file.flush()

    def note(self, text: str) -> None:
        """Keep what a user should know, who is told it as well; it is no output of the build."""
        self._file.write(f"{text}\n")
        self._file.flush()
        self._emit(Noted(message=text))

    def line(self, text: str) -> None:
        """Take in one line of output."""
        # A progress bar redraws its line: what counts is how it looks in the end.
        text = text.rstrip().rpartition("\r")[2][:_LINE_BYTES]
        self._file.write(f"{text}\n")
        self._file.flush()
        self.tail.append(text)
        stage = stage_of(text)
        if stage and stage != self._last:
            self._last = stage
            self._emit(Reached(task=self._task, stage=stage))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
