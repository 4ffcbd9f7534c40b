"""Whether a server still offers the content that a download was begun with."""

from nimctl.core.facts import File
from nimctl.store.transfer.answers import Body
from nimctl.store.transfer.failures import unstable


class Identity:
    """What the server called the content: `validator` is what If-Range takes, None if not told."""

    def __init__(self, file: File) -> None:
        self.validator: str | None = None
        self._file = file
        self._has_changed = False

    @property
    def etag(self) -> str | None:
        """The strong ETag of the content, without quotes, as far as one was seen."""
        found = self.validator or ""
        return found[1:-1] if found.startswith('"') and found.endswith('"') else None

    @property
    def condition(self) -> str | None:
        """The validator to ask with.

        Servers behind one name may differ in their validators; a digest decides better then.
        """
        return None if self._has_changed and self._file.digests else self.validator

    def is_other(self, body: Body, size: int | None) -> bool:
        """Whether an answer belongs to other content than that of `size` bytes (None: unknown)."""
        if body.total is not None and size not in (None, body.total):
            return True
        return None not in (self.condition, body.validator) and self.condition != body.validator

    def note_change(self) -> None:
        """Note that the content is another now.

        Raises:
            NetworkError: Not for the first time, and nothing tells which is right.
        """
        if self._has_changed:
            raise unstable(self._file.path, "its size or validator changed twice")
        self._has_changed = True
