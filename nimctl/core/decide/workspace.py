"""Plans that bring a NIM profile's workspace and lay it out for its container."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from nimctl.core.decide.fetch import check_disk, disk_note, missing, size
from nimctl.core.decide.target import Surroundings
from nimctl.core.errors import DiskFullError, NotFoundError, UsageError
from nimctl.core.facts import Artifact, Destination
from nimctl.core.names import enumerated
from nimctl.core.nim_manifest import ManifestProfile
from nimctl.core.nim_workspace import WorkspaceSource, cached_model, store_files
from nimctl.core.plan import Fetch, FillCache, FillStore, Plan, Step
from nimctl.core.sizes import in_words
from nimctl.core.trtllm.prebuilt import engine_directories
from nimctl.core.value import Value

_INSIDE = "/opt/nim/.cache"


class Piece(Value):
    """What a profile takes from one source, and the artifact that this is."""

    source: WorkspaceSource
    artifact: Artifact


class Aims(Value):
    """Where a workspace is to be laid out: NIM's cache, a model store, or both."""

    cache: Destination | None = None
    store: Destination | None = None


def plan_workspace(
    profile: ManifestProfile, pieces: Sequence[Piece], aims: Aims, around: Surroundings
) -> Plan:
    """Fetch what is missing and lay all of it out.

    Raises:
        NotFoundError: A source lacks a file that the manifest names.
        DiskFullError: The files, or copies of them, do not fit.
        UsageError: This user may not write where they are to go.
        VerificationError: Two files would lie at one path.
    """
    for piece in pieces:
        _check_names(piece)
    fetches = tuple(_fetch(piece.artifact, around) for piece in pieces)
    wanted = [file for step in fetches for file in step.missing]
    check_disk(f"the download of profile {profile.id}", size(wanted), around)
    for aim in (aims.cache, aims.store):
        if aim:
            _check_aim(aim, pieces)
    notes = (disk_note(wanted, around), *_notes(profile, pieces, aims))
    return Plan(steps=(*fetches, *_fills(profile, pieces, aims)), notes=notes)


def with_engine_tags(profile: ManifestProfile, pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """The pieces, that with an engine told what the manifest says of it: its files do not."""
    return tuple(_told(profile, piece, pieces) for piece in pieces)


def _told(profile: ManifestProfile, piece: Piece, pieces: Iterable[Piece]) -> Piece:
    if not engine_directories(piece.artifact):
        return piece
    others = (one.artifact.reference for one in pieces if one is not piece)
    artifact = msgspec.structs.replace(piece.artifact, tags=profile.tags, beside=tuple(others))
    return msgspec.structs.replace(piece, artifact=artifact)


def _fetch(artifact: Artifact, around: Surroundings) -> Fetch:
    """Archives in a workspace are NIM's own affair: they are not unpacked."""
    absent = missing(artifact, around.inventory)
    return Fetch(reference=artifact.reference, artifact=artifact, missing=absent)


def _fills(profile: ManifestProfile, pieces: Sequence[Piece], aims: Aims) -> Iterator[Step]:
    if aims.cache:
        found = (cached_model(piece.artifact) for piece in pieces)
        models = tuple(model for model in found if model)
        yield FillCache(directory=aims.cache.directory, models=models)
    if aims.store:
        files = store_files((piece.source, piece.artifact) for piece in pieces)
        yield FillStore(directory=aims.store.directory, profile=profile.id, files=files)


def _notes(profile: ManifestProfile, pieces: Sequence[Piece], aims: Aims) -> Iterator[str]:
    if not aims.cache:
        return
    for piece in pieces:
        if cached_model(piece.artifact):
            continue
        ref = piece.source.ref
        if ref.scheme == "file":
            yield f"a container reads {ref.path} where it is: mount it there too"
        else:
            yield f"{ref} has no place in NIM's cache that is known; --model-store has one"
    image = profile.container or "IMAGE"
    yield (
        f"docker run --gpus all -u $(id -u) -v {aims.cache.directory}:{_INSIDE} "
        f"-e NIM_MODEL_PROFILE={profile.id} -p 8000:8000 {image}"
    )


def _check_names(piece: Piece) -> None:
    there = {file.path for file in piece.artifact.files}
    absent = sorted(set(piece.source.files) - there)
    if absent:
        raise NotFoundError(
            f"{piece.source.ref} has no file {enumerated(absent)}, which the manifest names",
            cause=f"it has {enumerated(sorted(there))}",
        )


def _check_aim(aim: Destination, pieces: Iterable[Piece]) -> None:
    if not aim.is_writable:
        raise UsageError(
            f"{aim.directory} cannot be written",
            cause="its owner is another user",
            hint="make it yours, or choose another with --cache or --model-store",
        )
    need = sum(size(piece.artifact.files) for piece in pieces)
    if not aim.shares_disk and need > aim.free_bytes:
        raise DiskFullError(
            f"what goes to {aim.directory} needs {in_words(need)}, "
            f"and {in_words(aim.free_bytes)} are free there",
            cause="it lies on another disk than NIMCTL_HOME, so that files are copied",
            hint="free some space, or choose a directory beside NIMCTL_HOME",
        )
