"""Names that come from outside: checked, and refused rather than rewritten."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from nimctl.core.errors import VerificationError

_FEW = 20
_LONGEST_PART_BYTES = 255
_LONGEST_PATH_BYTES = 4096
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file: reserved with any extension.
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_HEX_LENGTH = {"sha256": 64, "git-sha1": 40, "blake3": 64}


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
    taken = PathTree()
    checked = tuple(paths)
    for path in checked:
        taken.add_file(path)
    return checked


class PathTree:
    """Files and directories that can lie in one directory together, also where case is folded.

    `len` counts both, with the directories that paths imply.
    """

    def __init__(self) -> None:
        # Each directory by folded name; a file is the path as it was given.
        self._root: _Directory = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add_file(self, path: str) -> None:
        """Take in one more file.

        Raises:
            VerificationError: Its path is unsafe, or another one's.
        """
        *parents, name = _folded(safe_path(path)).split("/")
        directory = self._enter(parents, path)
        other = directory.get(name)
        if isinstance(other, dict):
            raise VerificationError(f"{path!r} is a file and also a directory")
        if other == path:
            raise VerificationError(f"there are two files {path!r}")
        if other:
            raise VerificationError(
                f"the files {other!r} and {path!r} are one where case is not told apart"
            )
        directory[name] = path
        self._count += 1

    def add_directory(self, path: str) -> None:
        """Take in one more directory; it may be there already.

        Raises:
            VerificationError: Its path is unsafe, or that of a file.
        """
        self._enter(_folded(safe_path(path)).split("/"), path)

    def _enter(self, parts: Iterable[str], path: str) -> "_Directory":
        directory = self._root
        for part in parts:
            if part not in directory:
                directory[part] = {}
                self._count += 1
            below = directory[part]
            if isinstance(below, str):
                raise VerificationError(f"{below!r} is a file and the directory of {path!r}")
            directory = below
        return directory


_Directory: TypeAlias = dict[str, "str | _Directory"]


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


def enumerated(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are; unprintable ones are escaped."""
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    shown = (name if name.isprintable() else repr(name) for name in names[:_FEW])
    return (", ".join(shown) or "nothing") + more


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
