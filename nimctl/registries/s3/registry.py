"""Models in buckets: all objects under a prefix, or one object."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from nimctl.core.errors import NotFoundError
from nimctl.core.facts import Artifact, DigestAlgorithm, File
from nimctl.core.names import safe_paths
from nimctl.core.ports import Location
from nimctl.core.refs import ModelRef
from nimctl.core.selection import selected
from nimctl.registries.s3.bucket import Bucket, Buckets, Described
from nimctl.registries.s3.wire import Listed

_AT_ONCE = 8
_SHA256 = "SHA256"


class S3Registry:
    """Models in the buckets of one store."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets

    def resolve(self, ref: ModelRef) -> Artifact:
        """List the objects under a prefix, with the digests that the store keeps.

        Raises:
            NotFoundError: There is no such bucket, or nothing under that prefix.
            AuthError: The keys are wrong, or may not read it.
            NetworkError: The store cannot be reached, or answers nonsense.
            VerificationError: A key is no safe file name.
        """
        name, _, prefix = ref.path.partition("/")
        bucket = self._buckets[name]
        one = bucket.describe(prefix) if prefix else None
        if one is not None:
            return Artifact(reference=str(ref), files=(object_file(name, prefix, one),))
        under = f"{prefix}/" if prefix else ""
        found = selected(ref, _entries(bucket.list(under), under, ref))
        safe_paths(entry.path for entry in found)
        return Artifact(reference=str(ref), files=object_files(bucket, found))

    def locate(self, file: File) -> Location:
        """Say where an object is, signed anew each time."""
        return locate_object(self._buckets, file)


class Entry(NamedTuple):
    """An object, and what its file is called in the model."""

    path: str
    listed: Listed


def object_files(bucket: Bucket, entries: Iterable[Entry]) -> tuple[File, ...]:
    """The files that objects are; the store is asked for sha256 digests where it may have them."""

    def file(entry: Entry) -> File:
        listed = entry.listed
        # Not all stores tell in lists which checksums they keep.
        may_have = not listed.algorithms or _SHA256 in listed.algorithms
        known = bucket.describe(listed.key) if may_have else None
        described = Described(listed.size, listed.etag, known.sha256 if known else None)
        return object_file(bucket.name, listed.key, described, path=entry.path)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return tuple(pool.map(file, entries))


def object_file(bucket: str, key: str, known: Described, *, path: str | None = None) -> File:
    """The file that an object is, by default under the last part of its key."""
    digests: dict[DigestAlgorithm, str] = {"sha256": known.sha256} if known.sha256 else {}
    return File(
        path=path or key.rpartition("/")[2],
        url=f"s3://{bucket}/{quote(key)}",
        size=known.size,
        etag=known.etag,
        digests=digests,
    )


def locate_object(buckets: Buckets, file: File) -> Location:
    """Where the object of an `s3://` URL is just now; any other URL is where it says."""
    parts = urlsplit(file.url)
    if parts.scheme != "s3":
        return Location(url=file.url)
    return buckets[parts.netloc].location(unquote(parts.path.removeprefix("/")))


def _entries(listed: Iterable[Listed], under: str, ref: ModelRef) -> Iterator[Entry]:
    found = False
    for one in listed:
        # Consoles make empty objects that end in a slash, to have directories to show.
        if not one.key.endswith("/"):
            found = True
            yield Entry(one.key.removeprefix(under), one)
    if not found:
        raise NotFoundError(
            f"{ref} has no objects", hint=f"aws s3 ls s3://{ref.path.partition('/')[0]}/"
        )
