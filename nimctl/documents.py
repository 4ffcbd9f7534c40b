"""JSON documents on disk: strict to read, visible by one rename when written."""

import os
import secrets
from pathlib import Path
from typing import TypeVar

import msgspec

from nimctl.core.errors import VerificationError
from nimctl.core.value import Value

Document = TypeVar("Document", bound=Value)


def read(path: Path, kind: type[Document]) -> Document | None:
    """Read a document; None when there is none.

    Raises:
        VerificationError: It is there and is not a `kind`.
    """
    try:
        data = path.read_bytes()
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
            file.write(msgspec.json.format(msgspec.json.encode(document), indent=2))
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
