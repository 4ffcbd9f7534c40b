"""Typed reading of a checkpoint's JSON files."""

from pathlib import Path
from typing import TypeVar

import msgspec

from nimctl.engines.gguf.refusals import corrupt, missing

T = TypeVar("T")


def read_json(file: Path, kind: type[T]) -> T:
    """Decode a JSON file.

    Raises:
        VerificationError: It is absent, no JSON, or not of that shape; the cause names the field.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except FileNotFoundError as error:
        raise missing(str(file)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise corrupt(file, str(error)) from error


def read_optional(file: Path, kind: type[T]) -> T | None:
    """Decode a JSON file; None when there is none.

    Raises:
        VerificationError: It is no JSON, or not of that shape.
    """
    return read_json(file, kind) if file.exists() else None
