"""The ways in which a checkpoint is refused, each in one wording."""

from pathlib import Path

from nimctl.core.errors import UnsupportedModelError, VerificationError


def unsupported(message: str, *, cause: str | None = None) -> UnsupportedModelError:
    """The checkpoint is sound, but nothing here can convert it."""
    return UnsupportedModelError(
        message,
        cause=cause,
        hint="pull a GGUF file instead: hf://ORG/REPO-GGUF?include=*q8_0.gguf",
    )


def corrupt(file: Path, why: str) -> VerificationError:
    """A file contradicts its format, itself or its neighbours."""
    return VerificationError(
        f"{file} is malformed", cause=why, hint="download the checkpoint again, or tell its author"
    )


def missing(what: str, *, cause: str | None = None) -> VerificationError:
    """A part that must be there is not."""
    return VerificationError(
        f"{what} is missing",
        cause=cause,
        hint="download the checkpoint again, with all its files",
    )
