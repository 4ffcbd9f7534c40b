"""Which of a registry's files a reference means."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

from nimctl.core.errors import NotFoundError
from nimctl.core.names import enumerated
from nimctl.core.refs import ModelRef


class _Named(Protocol):
    @property
    def path(self) -> str: ...


Entry = TypeVar("Entry", bound=_Named)


def selected(ref: ModelRef, entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The entries that the reference means.

    Raises:
        NotFoundError: None is, or a file that it names is not there; the cause names what there is.
    """
    everything = tuple(entries)
    found = tuple(entry for entry in everything if ref.selects(entry.path))
    there = {entry.path for entry in found}
    absent = [path for path in ref.files if path not in there]
    if found and not absent:
        return found
    if absent:
        wanted = f" {enumerated(absent)}"
    else:
        wanted = f" that matches {', '.join(ref.include)}" if ref.include else ""
    raise NotFoundError(
        f"{ref.scheme}://{ref.path} has no file{wanted}",
        cause="it has " + enumerated([entry.path for entry in everything]),
    )
