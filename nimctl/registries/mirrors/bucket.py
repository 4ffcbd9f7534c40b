"""A mirror in a bucket, in the form that NIM reads."""

from collections.abc import Sequence

import msgspec

from nimctl.core.checksums import read_checksums
from nimctl.core.errors import NotFoundError, VerificationError
from nimctl.core.facts import Artifact, File
from nimctl.core.mirrors import (
    DEFAULT_REVISIONS,
    Source,
    key_of,
    key_prefix,
    source_of_key,
    source_of_url,
)
from nimctl.core.names import enumerated, near, safe_paths
from nimctl.core.ports import Location
from nimctl.core.refs import ModelRef, Scheme
from nimctl.core.selection import selected
from nimctl.registries.s3 import Buckets
from nimctl.registries.s3.registry import Entry, locate_object, object_files

# NIM's own list, which lies in each version on NGC.
_BLAKE3 = "checksums.blake3"


class BucketMirror:
    """The files of one scheme's models in a bucket; `base` is `s3://BUCKET[/PREFIX]`."""

    def __init__(self, scheme: Scheme, base: str, buckets: Buckets) -> None:
        name, _, prefix = base.removeprefix("s3://").strip("/").partition("/")
        self._scheme = scheme
        self._base = base
        self._buckets = buckets
        self._bucket = buckets[name]
        self._prefix = f"{prefix}/" if prefix else ""

    def resolve(self, ref: ModelRef) -> Artifact:
        """Find a model's revision and its files; without a revision, the only one that is there.

        Raises:
            NotFoundError: The model is not in the mirror, or not that revision of it.
            AuthError: The keys are wrong, or may not read the bucket.
            NetworkError: The store cannot be reached, or answers nonsense.
            VerificationError: A file's name is unsafe, or NIM's list of digests is malformed.
        """
        revisions = self._revisions(ref.path)
        revision = self._chosen(ref, list(revisions))
        entries = revisions[revision]
        found = selected(ref, entries)
        safe_paths(entry.path for entry in found)
        files = object_files(self._bucket, found)
        return Artifact(
            reference=str(ref), revision=revision, files=self._with_checksums(files, entries)
        )

    def locate(self, file: File) -> Location:
        """Say where an object is; files that a lock has from the registry are found here too."""
        source = source_of_url(self._scheme, file.url)
        if source is None:
            return locate_object(self._buckets, file)
        return self._bucket.location(f"{self._prefix}{key_of(source)}")

    def _revisions(self, model: str) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = {}
        for listed in self._bucket.list(f"{self._prefix}{key_prefix(model)}"):
            source = source_of_key(model, listed.key.removeprefix(self._prefix))
            if source:
                found.setdefault(source.revision, []).append(Entry(source.path, listed))
        return found

    def _chosen(self, ref: ModelRef, revisions: list[str]) -> str:
        wanted = ref.revision or DEFAULT_REVISIONS[self._scheme]
        if wanted in revisions:
            return wanted
        if ref.revision is None and len(revisions) == 1:
            return revisions[0]
        if not revisions:
            key = f"{self._prefix}{key_of(Source(ref.path, wanted, 'FILE'))}"
            raise NotFoundError(
                f"{ref} is not in the mirror {self._base}",
                cause=f"no key begins like s3://{self._bucket.name}/{key}",
            )
        raise NotFoundError(
            f"{ref} has no revision {wanted} in the mirror {self._base}",
            cause=near(wanted, revisions) or "there is " + enumerated(revisions),
        )

    def _with_checksums(
        self, files: tuple[File, ...], entries: Sequence[Entry]
    ) -> tuple[File, ...]:
        own = next((entry for entry in entries if entry.path == _BLAKE3), None)
        if own is None or all(file.sha256 for file in files):
            return files
        stated = read_checksums(self._bucket.read(own.listed.key))
        if stated is None:
            raise VerificationError(f"{_BLAKE3} in the mirror {self._base} is no list of digests")
        return tuple(
            msgspec.structs.replace(file, digests={**file.digests, "blake3": stated[file.path]})
            if file.path in stated
            else file
            for file in files
        )
