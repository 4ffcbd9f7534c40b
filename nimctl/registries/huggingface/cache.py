"""What `hf download` and other users of huggingface_hub keep: blobs, revisions, lists of files.

https://huggingface.co/docs/huggingface_hub/guides/manage-cache; the lists, `trees/COMMIT.json`, are
of huggingface_hub 2.
"""

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

from nimctl.core.facts import DigestAlgorithm, File
from nimctl.core.names import checked_digest

_RESOLVE_PATH = re.compile(r"(?:.*/)?([^/]+/[^/]+)/resolve/")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256_DIGITS = 64
_FORMAT = 1


class Entry(NamedTuple):
    """A file of a repository at a commit: `blob_id` is Git's, `sha256` that of an LFS file."""

    path: str
    size: int | None
    blob_id: str
    sha256: str | None


class _Listed(msgspec.Struct):
    size: int
    blob_id: str
    lfs_sha256: str | None = None


class _Tree(msgspec.Struct):
    format_version: int
    files: dict[str, _Listed]


class HubCache:
    """The cache in `directory`; None stands for an empty one."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory

    def find(self, file: File) -> Path | None:
        """The bytes of a file, if they are there: `models--ORG--NAME/blobs/DIGEST`.

        The digest is the sha256 of an LFS file and the git blob id of any other.
        """
        if self.directory is None:
            return None
        named = _RESOLVE_PATH.match(urlsplit(file.url).path)
        digest = file.digests.get("git-sha1", file.sha256)
        blobs = self._blobs(named[1]) if named else None
        if blobs is None or digest is None:
            return None
        blob = blobs / digest
        try:
            is_whole = blob.is_file() and blob.stat().st_size == file.size
        except OSError:
            return None  # somebody else's cache
        return blob.absolute() if is_whole else None

    def commit(self, repository: str, revision: str) -> str | None:
        """The commit that a branch, tag or commit meant when it was last asked for."""
        if self.directory is None:
            return None
        place = self._repository(self.directory, repository)
        if _COMMIT.fullmatch(revision):
            there = (place / "snapshots" / revision, place / "trees" / f"{revision}.json")
            return revision if any(path.exists() for path in there) else None
        try:
            commit = (place / "refs" / revision).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
        return commit if _COMMIT.fullmatch(commit) else None

    def listed(self, repository: str, commit: str) -> list[Entry] | None:
        """All files at a commit; None where no list was kept."""
        if self.directory is None:
            return None
        path = self._repository(self.directory, repository) / "trees" / f"{commit}.json"
        try:
            tree = msgspec.json.decode(path.read_bytes(), type=_Tree)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        if tree.format_version != _FORMAT:
            return None
        return [
            Entry(path, one.size, one.blob_id, one.lfs_sha256) for path, one in tree.files.items()
        ]

    def present(self, repository: str, commit: str) -> list[Entry]:
        """The files at a commit that are there, which may not be all."""
        if self.directory is None:
            return []
        return list(_snapshot(self._repository(self.directory, repository) / "snapshots" / commit))

    @functools.cache  # noqa: B019 - as long as one command runs, for each of thousands of files
    def _blobs(self, repository: str) -> Path | None:
        """The directory of a repository's blobs, if there is one."""
        if self.directory is None:
            return None
        blobs = self._repository(self.directory, repository) / "blobs"
        return blobs if blobs.is_dir() else None

    @staticmethod
    def _repository(directory: Path, name: str) -> Path:
        return directory / "--".join(["models", *name.split("/")])


def hub_file(endpoint: str, repository: str, commit: str, entry: Entry) -> File:
    """The file that an entry is.

    Raises:
        VerificationError: It has a malformed digest.
    """
    algorithm: DigestAlgorithm = "sha256" if entry.sha256 else "git-sha1"
    digest = checked_digest(algorithm, entry.sha256 or entry.blob_id)
    return File(
        path=entry.path,
        url=f"{endpoint}/{repository}/resolve/{commit}/{quote(entry.path)}",
        size=entry.size,
        etag=digest,
        digests={algorithm: digest},
    )


def _snapshot(directory: Path) -> Iterator[Entry]:
    """The files of a snapshot, which are links to blobs that are named by their digests."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.is_symlink():
            digest = path.readlink().name
            sha256 = digest if len(digest) == _SHA256_DIGITS else None
            name = str(path.relative_to(directory))
            yield Entry(name, path.stat().st_size, digest, sha256)
