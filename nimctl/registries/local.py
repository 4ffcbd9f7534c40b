"""Models on this machine: `file://` paths, and `package://` models shipped inside nimctl."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from nimctl.core.errors import NotFoundError, UsageError
from nimctl.core.facts import Artifact, File
from nimctl.core.names import near, safe_paths
from nimctl.core.ports import Location
from nimctl.core.refs import ModelRef


class LocalRegistry:
    """Files that are here already; `packaged` has one directory a shipped model."""

    def __init__(self, packaged: Path) -> None:
        self._packaged = packaged

    def resolve(self, ref: ModelRef) -> Artifact:
        """List the files under a path.

        Hidden files are left out. The transfer hashes: a local file has no digest before.

        Raises:
            NotFoundError: There is nothing, or it may not be read.
            UsageError: There is something that is neither a file nor a directory of files.
            VerificationError: A name is unsafe elsewhere.
        """
        is_shipped = ref.scheme == "package"
        try:
            files = _files(self._packaged_path(ref.path) if is_shipped else Path(ref.path))
        except OSError as error:
            raise _unreadable(Path(error.filename or ref.path), error) from error
        return Artifact(reference=str(ref), files=files)

    def locate(self, file: File) -> Location:
        """Say where a file is: where it was."""
        return Location(url=file.url)

    def _packaged_path(self, name: str) -> Path:
        shipped = sorted(entry.name for entry in self._packaged.iterdir() if entry.is_dir())
        if name not in shipped:
            raise NotFoundError(
                f"no model named {name!r} is shipped with nimctl",
                cause="there is " + (", ".join(shipped) or "none"),
                hint="nimctl list-profiles",
            )
        return self._packaged / name


def _files(path: Path) -> tuple[File, ...]:
    root = Path(os.path.realpath(path, strict=True))
    if not root.is_dir():
        return (_file(root, path.name),)
    homes = _homes(root)
    files = tuple(_file(one, str(one.relative_to(root))) for one in _walk(root, homes))
    if not files:
        raise NotFoundError(f"{path} has no files", hint=f"ls -A {quote(str(path))}")
    safe_paths(file.path for file in files)
    return files


def _homes(root: Path) -> tuple[Path, ...]:
    """The directories that links under `root` may point into.

    A Hugging Face cache keeps `models--ORG--NAME/snapshots/COMMIT/PATH` as links into `blobs/` of
    the model, and those, since huggingface_hub 2, as links into `blobs/` of the whole cache.
    """
    if root.parent.name != "snapshots":
        return (root,)
    model = root.parent.parent
    return (root, model / "blobs", model.parent / "blobs")


def _walk(directory: Path, homes: tuple[Path, ...]) -> Iterator[Path]:
    for entry in sorted(directory.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_symlink():
            _check_link(entry, homes)
        if entry.is_dir():
            yield from _walk(entry, homes)
        else:
            yield entry


def _check_link(link: Path, homes: tuple[Path, ...]) -> None:
    target = Path(os.path.realpath(link))
    if not any(target.is_relative_to(home) for home in homes):
        raise UsageError(
            f"{link} is a link that leads outside: to {target}",
            hint=f"replace it: cp --remove-destination {quote(str(target))} {quote(str(link))}",
        )
    if target.is_dir():
        raise UsageError(f"{link} is a link to a directory, which is not followed")
    if not target.exists():
        raise NotFoundError(f"{link} is a link to {target}, which does not exist")


def _file(path: Path, name: str) -> File:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path} is not a regular file")
    with path.open("rb"):  # only opening tells whether it can be read
        etag = f"{status.st_mtime_ns}-{status.st_ino}-{status.st_size}"
    return File(path=name, url=path.as_uri(), size=status.st_size, etag=etag)


def _unreadable(where: Path, error: OSError) -> NotFoundError:
    if not isinstance(error, FileNotFoundError):
        reason = (error.strerror or str(error)).lower()
        return NotFoundError(
            f"{where} cannot be read: {reason}",
            hint=f"namei -l {quote(str(where))} shows who may read it",
        )
    while not where.parent.is_dir():
        where = where.parent
    return NotFoundError(
        f"{where} does not exist",
        cause=near(where.name, _visible_names(where.parent)),
        hint=f"ls {quote(str(where.parent))}",
    )


def _visible_names(directory: Path) -> list[str]:
    try:
        return [entry.name for entry in directory.iterdir() if not entry.name.startswith(".")]
    except OSError:
        return []  # it is only for a suggestion
