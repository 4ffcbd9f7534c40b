"""What a NIM profile's workspace takes from which model version, and where it lies in NIM's cache.

The cache is laid out as the Hugging Face Hub's: https://github.com/jovanjuzy/nim-training @de3a689,
L40S/tree-download-to-cache.md, for files of NGC (`ngc/hub`), and for those of the Hub
(`huggingface/hub`) https://huggingface.co/docs/huggingface_hub/guides/manage-cache. Field reports
tell of NIM 1.8 that it takes `snapshots/VERSION/FILE` for a cached file whatever blob it leads to,
and of caches that others made with `refs` and `snapshots` alone. What `refs/VERSION` holds for NGC
is inferred from the Hub's cache, where it holds the name of the snapshot.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from nimctl.core.errors import UsageError, VerificationError
from nimctl.core.facts import Artifact, DigestAlgorithm, File
from nimctl.core.names import safe_path, safe_paths
from nimctl.core.nim_manifest import ManifestProfile, WorkspaceItem
from nimctl.core.refs import ModelRef
from nimctl.core.value import Value

_ETAG = re.compile(r"[0-9A-Za-z_-]{1,128}", re.ASCII)
_NGC_FILE = re.compile(r"/v2/org/[^/]+(/team/[^/]+)?/models/[^/]+/versions/[^/]+/files/")
_HUB = "huggingface/hub"
_PINNED = ("ngc", "hf")
_ELSEWHERE = ("gs", "modelscope")


class WorkspaceSource(Value):
    """What a profile takes from one version of a model, or from a path of the machine.

    `files` maps a file of the source to its paths in the workspace. Without `files`, all that the
    source has goes into each of `directories`, which end in `/` or are empty.
    """

    ref: ModelRef
    files: dict[str, tuple[str, ...]] = {}
    directories: tuple[str, ...] = ()
    digests: dict[str, dict[DigestAlgorithm, str]] = {}

    def paths_of(self, file: str) -> tuple[str, ...]:
        """Where a file of the source lies in the workspace."""
        whole = tuple(f"{directory}{file}" for directory in self.directories)
        return (*self.files.get(file, ()), *whole)


class CachedModel(Value):
    """Where an artifact lies in NIM's cache.

    `path` is the model's directory, `snapshot` the one under `snapshots` that has its files, and
    `revision` the file under `refs` that says so.
    """

    reference: str
    path: str
    revision: str
    snapshot: str

    @property
    def is_of_the_hub(self) -> bool:
        """Whether the Hugging Face Hub's client reads it, and not NIM's own."""
        return self.path.startswith(f"{_HUB}/")


class BlobName(NamedTuple):
    """A file's name in the cache; `is_known` tells whether it is the one that NIM would give."""

    name: str
    is_known: bool


class StoreFile(Value):
    """A file of an artifact, and its path in a model store."""

    reference: str
    file: str
    path: str


def sources_of(profile: ManifestProfile) -> tuple[WorkspaceSource, ...]:
    """What a profile is made of, by source, sorted; equal profiles give equal references.

    Raises:
        UsageError: The manifest does not say where its files are, or nimctl cannot fetch from
            there.
        VerificationError: An address or a path in the manifest makes no sense.
    """
    if not profile.workspace:
        raise UsageError(
            f"profile {profile.id} has no files of its own",
            cause="its container has them, or fetches what its environment names",
        )
    found: dict[str, WorkspaceSource] = {}
    for item in profile.workspace:
        source = _source(profile, item)
        key = str(msgspec.structs.replace(source.ref, files=()))
        found[key] = _merged(found[key], source) if key in found else source
    return tuple(_named(found[key]) for key in sorted(found))


def pinned_down(source: WorkspaceSource, artifact: Artifact) -> Artifact:
    """The artifact with the digests that the manifest states too, which its bytes have to have.

    Raises:
        VerificationError: Registry and manifest state different digests.
    """
    return msgspec.structs.replace(
        artifact, files=tuple(_with_digests(file, source) for file in artifact.files)
    )


def cached_model(artifact: Artifact) -> CachedModel | None:
    """Where an artifact lies in NIM's cache; None if it has no place there."""
    ref = ModelRef.parse(artifact.reference)
    snapshot = artifact.revision or ref.revision
    if ref.scheme not in _PINNED or not snapshot:
        return None
    root = "ngc/hub" if ref.scheme == "ngc" else _HUB
    return CachedModel(
        reference=artifact.reference,
        path=f"{root}/models--{ref.path.replace('/', '--')}",
        revision=safe_path(ref.revision or ("main" if ref.scheme == "hf" else snapshot)),
        snapshot=safe_path(snapshot),
    )


def blob_name(model: CachedModel, file: File) -> BlobName:
    """What a file is called among the cache's blobs.

    NIM names a file of NGC by the ETag that came with it; where none is known, or it is a mirror's,
    its sha256 is as good a name. The Hub's cache has the sha256 of large files and the git blob id
    of others.
    """
    if model.is_of_the_hub:
        return BlobName(file.digests.get("git-sha1") or file.sha256 or "", is_known=True)
    is_ngcs = _NGC_FILE.search(file.url) is not None
    if is_ngcs and file.served_etag and _ETAG.fullmatch(file.served_etag):
        return BlobName(file.served_etag, is_known=True)
    return BlobName(file.sha256 or "", is_known=False)


def store_files(sources: Iterable[tuple[WorkspaceSource, Artifact]]) -> tuple[StoreFile, ...]:
    """Every file of a workspace in one directory, as `create-model-store` lays it out.

    Raises:
        VerificationError: Two files would lie at one path, or a path is unsafe.
    """
    found = tuple(
        StoreFile(reference=artifact.reference, file=file.path, path=path)
        for source, artifact in sources
        for file in artifact.files
        for path in source.paths_of(file.path)
    )
    safe_paths(one.path for one in found)
    return found


def _source(profile: ManifestProfile, item: WorkspaceItem) -> WorkspaceSource:
    if item.uri is None:
        raise UsageError(
            f"profile {profile.id} does not say where its files are",
            cause=f"the manifest has no source for {item.path or 'its workspace'}",
        )
    ref = _reference(profile, item.uri)
    if item.path == "" or item.path.endswith("/"):
        return WorkspaceSource(ref=ref, directories=(item.path,))
    if len(ref.files) == 1:
        name = ref.files[0]
    elif ref.scheme in ("file", "s3") and not ref.files:
        name = ref.path.rpartition("/")[2]
    else:
        raise _nonsense(profile, item.uri, "it names no file")
    digests = {name: item.digests} if item.digests else {}
    return WorkspaceSource(ref=ref, files={name: (safe_path(item.path),)}, digests=digests)


def _reference(profile: ManifestProfile, uri: str) -> ModelRef:
    scheme = uri.partition("://")[0]
    if scheme in _ELSEWHERE:
        raise UsageError(
            f"profile {profile.id} has files at {scheme}://, from where nimctl cannot fetch",
            cause=uri,
            hint="mirror them to an S3-compatible store, or to NGC",
        )
    try:
        ref = ModelRef.parse(f"file://{uri}" if uri.startswith("/") else uri)
    except UsageError as error:
        raise _nonsense(profile, uri, error.cause or error.message) from error
    if ref.scheme not in (*_PINNED, "file", "s3") or ref.include or ref.exclude:
        raise _nonsense(profile, uri, "NIM has no such addresses")
    if ref.scheme == "ngc" and not ref.revision:
        raise _nonsense(profile, uri, "it names no version")
    return ref


def _merged(one: WorkspaceSource, other: WorkspaceSource) -> WorkspaceSource:
    files, digests = dict(one.files), dict(one.digests)
    for name, paths in other.files.items():
        files[name] = (*files.get(name, ()), *paths)
    for name, stated in other.digests.items():
        if any(
            digests.get(name, {}).get(algorithm, hex_) != hex_ for algorithm, hex_ in stated.items()
        ):
            raise VerificationError(f"the manifest states two digests for {name} of {one.ref}")
        digests[name] = {**digests.get(name, {}), **stated}
    directories = dict.fromkeys((*one.directories, *other.directories))
    return WorkspaceSource(
        ref=one.ref, files=files, directories=tuple(directories), digests=digests
    )


def _named(source: WorkspaceSource) -> WorkspaceSource:
    """With a reference that names exactly what is taken."""
    single = source.ref.scheme in ("file", "s3")
    names = () if source.directories or single else tuple(sorted(source.files))
    return msgspec.structs.replace(source, ref=msgspec.structs.replace(source.ref, files=names))


def _with_digests(file: File, source: WorkspaceSource) -> File:
    stated = source.digests.get(file.path, {})
    for algorithm, hex_ in stated.items():
        if file.digests.get(algorithm, hex_) != hex_:
            raise VerificationError(
                f"{file.path} of {source.ref} is not what the manifest wants",
                cause=f"{algorithm} {file.digests[algorithm]} there, {hex_} in the manifest",
            )
    return msgspec.structs.replace(file, digests={**file.digests, **stated})


def _nonsense(profile: ManifestProfile, uri: str, why: str) -> VerificationError:
    return VerificationError(
        f"profile {profile.id} has the address {uri[:200]!r}, which makes no sense", cause=why
    )
