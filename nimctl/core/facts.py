"""What was observed: the machine, remote content, local content."""

import hashlib
from typing import Literal

import msgspec

from nimctl.core.value import Value, canonical_json

DigestAlgorithm = Literal["sha256", "git-sha1", "blake3"]


class File(Value):
    """One file of an artifact.

    `path` is relative and uses `/`. `url` says where the bytes come from, without credentials.
    `size` in bytes and `digests` (algorithm to lower-case hex) as the registry states them; after
    the fetch sha256 is always among them. `etag` changes when the content behind `url` does;
    `served_etag` is the one that came with the bytes, by which other tools name them.
    """

    path: str
    url: str
    size: int | None = None
    etag: str | None = None
    served_etag: str | None = None
    digests: dict[DigestAlgorithm, str] = {}

    @property
    def sha256(self) -> str | None:
        """The sha256 in hex, when it is known."""
        return self.digests.get("sha256")


class Artifact(Value):
    """The files that a reference resolves to, pinned to one revision.

    `archives` are those that some of the files were unpacked from, `directories` what they hold
    besides files: directories with nothing in them. A Triton model without files of its own, an
    ensemble, is such a one: every model has a directory of a version.
    https://docs.nvidia.com/deeplearning/triton-inference-server/archives/triton-inference-server-2310/user-guide/docs/user_guide/model_repository.html
    `tags` are what a NIM manifest says of the profile that takes them, `beside` the references of
    what it takes from elsewhere. `gpu` is the one that its publisher says it was made for.
    """

    schema_version: int = 1
    reference: str
    revision: str | None = None
    files: tuple[File, ...]
    archives: tuple[File, ...] = ()
    directories: tuple[str, ...] = ()
    tags: dict[str, str] = {}
    beside: tuple[str, ...] = ()
    gpu: str | None = None

    @property
    def digest(self) -> str | None:
        """sha256 over (path, sha256) of all files and (path, "") of directories.

        None until each sha256 is known.

        The same content has the same digest, whichever registry it came from.
        """
        files = [(file.path, file.sha256 or "") for file in self.files]
        if any(not sha256 for _, sha256 in files):
            return None
        entries = sorted([*files, *((path, "") for path in self.directories)])
        return hashlib.sha256(canonical_json(entries)).hexdigest()

    @property
    def size(self) -> int | None:
        """Bytes of all files together; None when one is unknown."""
        sizes = [file.size for file in self.files if file.size is not None]
        return sum(sizes) if len(sizes) == len(self.files) else None


class Destination(Value):
    """A directory outside of the store that files are to go to, there already or not.

    `shares_disk` tells whether it can have hard links to the store's files; `free_bytes` are those
    of its file system, `is_writable` whether this user may write there.
    """

    directory: str
    free_bytes: int
    shares_disk: bool
    is_writable: bool = True


def carry_digests(resolved: Artifact, pinned: Artifact | None) -> Artifact:
    """Take over from an earlier fetch what the registry does not tell, where nothing changed."""
    before = (*pinned.files, *pinned.archives) if pinned else ()
    known = {file.path: file for file in before}
    carried = msgspec.structs.replace(
        resolved, files=tuple(_carried(file, known.get(file.path)) for file in resolved.files)
    )
    if pinned is None or resolved.tags or resolved.revision != pinned.revision:
        return carried
    # They are of the manifest that it was pulled by, which no registry knows.
    return msgspec.structs.replace(carried, tags=pinned.tags, beside=pinned.beside)


def _carried(file: File, before: File | None) -> File:
    if before is None or file.size not in (None, before.size):
        return file
    if file.sha256:
        same = file.sha256 == before.sha256
        return msgspec.structs.replace(file, served_etag=before.served_etag) if same else file
    same_etag = file.etag is not None and (file.url, file.etag) == (before.url, before.etag)
    same_digest = any(before.digests.get(name) == hex_ for name, hex_ in file.digests.items())
    if not (same_etag or same_digest):
        return file
    return msgspec.structs.replace(
        file,
        size=before.size,
        served_etag=before.served_etag,
        digests={**before.digests, **file.digests},
    )


class Inventory(Value):
    """What the store already has, as far as one request is concerned.

    `pinned` tells whether the artifact is pinned under its reference just as it was resolved.
    """

    pinned: bool = False
    blobs: frozenset[str] = frozenset()
    engines: frozenset[str] = frozenset()
