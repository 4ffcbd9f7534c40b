"""The blob store: each verified file once, read-only, named by its sha256."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from nimctl.core.facts import File
from nimctl.core.layout import Layout
from nimctl.store.disk import translated_disk_errors
from nimctl.store.syncing import sync

_READ_ONLY = 0o444
_SHA256_DIGITS = 64


class BlobStore:
    """Verified files under `blobs/sha256`; a name appears there by one rename, after its bytes.

    Iterating gives the sha256 of every blob, sorted.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def path(self, sha256: str) -> Path:
        """Where the blob is, or would be."""
        return self.layout.blob(sha256)

    def has(self, sha256: str) -> bool:
        """Whether the blob is there."""
        return self.path(sha256).is_file()

    def among(self, files: Iterable[File]) -> frozenset[str]:
        """The sha256 of those files that are there."""
        known = (file.sha256 for file in files)
        return frozenset(sha256 for sha256 in known if sha256 and self.has(sha256))

    def has_all(self, files: Iterable[File]) -> bool:
        """Whether every one of those files is there."""
        return all(file.sha256 and self.has(file.sha256) for file in files)

    def adopt(self, staged: Path, sha256: str) -> Path:
        """Give a verified file its name and return that; the power may fail right after.

        `staged` lies on the same file system and is gone afterwards. A blob that is there already
        is kept, so that hard links to it stay the same file.

        Raises:
            DiskFullError: The file system turned out to be full.
        """
        return self.adopt_all([(staged, sha256)])[0]

    def adopt_all(self, staged: Sequence[tuple[Path, str]]) -> list[Path]:
        """Adopt many at the price of one: all are written to the disk by one pass."""
        with translated_disk_errors(self.layout.root):
            sync([path for path, _ in staged])
            names = [self._publish(path, sha256) for path, sha256 in staged]
            directories = {name.parent for name in names}
            sync(sorted({*directories, *(directory.parent for directory in directories)}))
        return names

    def remove(self, sha256: str) -> None:
        """Remove the blob if it is there."""
        self.path(sha256).unlink(missing_ok=True)
        self.layout.checksums(sha256).unlink(missing_ok=True)

    def check(self, sha256: str) -> bool:
        """Read the whole blob again and tell whether it still is what its name says.

        Raises:
            FileNotFoundError: There is no such blob.
        """
        with self.path(sha256).open("rb") as blob:
            return hashlib.file_digest(blob, "sha256").hexdigest() == sha256

    def __iter__(self) -> Iterator[str]:
        directories = self.layout.blob("_" * _SHA256_DIGITS).parent.parent
        for path in sorted(directories.glob("??/*")):
            if len(path.name) == _SHA256_DIGITS:
                yield path.name

    def _publish(self, staged: Path, sha256: str) -> Path:
        final = self.path(sha256)
        if final.exists():
            staged.unlink()
            return final
        try:
            staged.rename(final)
        except FileNotFoundError:
            final.parent.mkdir(parents=True, exist_ok=True)
            staged.rename(final)
        # Not before: while it still has its old name, another process may open it to lock it.
        final.chmod(_READ_ONLY)
        return final
