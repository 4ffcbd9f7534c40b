"""Names that come from outside: checked, and refused rather than rewritten."""

import difflib
import re
import unicodedata
from collections.abc import Iterable

from nimctl.core.errors import VerificationError

_LONGEST_PART_BYTES = 255
_LONGEST_PATH_BYTES = 4096
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file: reserved with any extension.
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_HEX_LENGTH = {"sha256": 64, "git-sha1": 40}


def safe_path(path: str) -> str:
    """Return a relative path that is safe to write on any file system.

    Raises:
        VerificationError: It is not; the message says why.
    """
    reason = _danger(path)
    if reason:
        raise VerificationError(
            f"the file name {path!r} is refused",
            cause=reason,
            hint="tell whoever published it; nimctl never renames files",
        )
    return path


def safe_name(name: str) -> str:
    """Return a file name that is safe and has no directory.

    Raises:
        VerificationError: It is not, or it has one.
    """
    if "/" in name:
        raise VerificationError(f"the file name {name!r} is refused", cause="it is a path")
    return safe_path(name)


def safe_paths(paths: Iterable[str]) -> tuple[str, ...]:
    """Return paths that are safe one by one and can lie in one directory together.

    Raises:
        VerificationError: One is unsafe, or two would be one file or a file and its directory.
    """
    checked = tuple(safe_path(path) for path in paths)
    seen: dict[str, str] = {}
    for path in checked:
        folded = _folded(path)
        if folded in seen:
            raise VerificationError(
                f"the files {seen[folded]!r} and {path!r} are one where case is not told apart"
            )
        seen[folded] = path
    for path in checked:
        parts = _folded(path).split("/")
        for depth in range(1, len(parts)):
            blocked = seen.get("/".join(parts[:depth]))
            if blocked:
                raise VerificationError(f"{blocked!r} is a file and the directory of {path!r}")
    return checked


def checked_digest(algorithm: str, text: str) -> str:
    """Return a digest in lower-case hex; digests become file names.

    Raises:
        VerificationError: It is no digest of that algorithm.
    """
    digest = text.lower()
    if not re.fullmatch(f"[0-9a-f]{{{_HEX_LENGTH[algorithm]}}}", digest):
        raise VerificationError(f"the registry gives {text!r}, which is no {algorithm}")
    return digest


def near(name: str, names: Iterable[str]) -> str | None:
    """A sentence with the nearest of some names; None when none is near."""
    found = difflib.get_close_matches(name, list(names), n=3)
    return "near names: " + ", ".join(found) if found else None


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _danger(path: str) -> str | None:
    if not path:
        return "it is empty"
    if not path.isprintable():
        return "it has control or unprintable characters"
    if len(path.encode()) > _LONGEST_PATH_BYTES:
        return f"it is longer than {_LONGEST_PATH_BYTES} bytes"
    if path.startswith("/"):
        return "it is absolute"
    if "\\" in path or ":" in path:
        return "it has a backslash or a colon, which name drives and streams on Windows"
    return next((reason for part in path.split("/") if (reason := _part_danger(part))), None)


def _part_danger(part: str) -> str | None:
    if part in ("", ".", ".."):
        return "it has an empty part, `.` or `..`"
    if part != part.rstrip(". "):
        return "a part of it ends in a dot or a space"
    if len(part.encode()) > _LONGEST_PART_BYTES:
        return f"a part of it is longer than {_LONGEST_PART_BYTES} bytes"
    if _RESERVED.fullmatch(part):
        return "it names a device on Windows"
    return None
