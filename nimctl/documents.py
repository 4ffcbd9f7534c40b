"""JSON documents on disk: strict to read, visible by one rename when written."""

import os
import secrets
import stat
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from nimctl.core.errors import UsageError, VerificationError
from nimctl.core.value import Value

Document = TypeVar("Document", bound=Value)


def opened(path: Path) -> BinaryIO:
    """Open a file that a user has named, to read it.

    A pipe that has a name is refused: nobody may ever write to it. `<(...)` of a shell has none.

    Raises:
        UsageError: It is a named pipe.
        OSError: It cannot be opened.
    """
    resolved = Path(os.path.realpath(path))
    is_descriptor = resolved.is_relative_to("/dev/fd")
    if not is_descriptor and resolved.exists() and stat.S_ISFIFO(resolved.stat().st_mode):
        raise UsageError(
            f"{path} is a named pipe, to which nobody may ever write", hint="name a file"
        )
    return path.open("rb")


def read(path: Path, kind: type[Document]) -> Document | None:
    """Read a document; None when there is none.

    Raises:
        VerificationError: It is there and is not a `kind`.
        UsageError: It is a named pipe.
    """
    try:
        with opened(path) as file:
            data = file.read()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise VerificationError(
            f"{path} is damaged", cause=str(error), hint=f"rm {path}, then run the command again"
        ) from error


def write(path: Path, document: Value) -> None:
    """Write a document so that readers see the old or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with staged.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
