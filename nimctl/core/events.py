"""What happens while a plan runs. Nothing else flows upward but return values."""

from collections.abc import Callable
from typing import TypeAlias

from nimctl.core.value import Value


class Started(Value, tag=True):
    """A task began; `total` is in bytes, None when it moves none.

    `parent` is the task that it is a part of, such as the fetch of a file's artifact.
    """

    task: str
    title: str
    total: int | None = None
    parent: str | None = None


class Progressed(Value, tag=True):
    """A task has moved `done` bytes so far."""

    task: str
    done: int


class Reached(Value, tag=True):
    """A task came to a stage, in few words: what there is to tell where no bytes are counted."""

    task: str
    stage: str


class Finished(Value, tag=True):
    """A task ended well; `note` says with what, when that is worth a word."""

    task: str
    note: str | None = None


class Noted(Value, tag=True):
    """Something that the user should know and that needs no action."""

    message: str


Event: TypeAlias = Started | Progressed | Reached | Finished | Noted
Emit: TypeAlias = Callable[[Event], None]
