"""Observe, then decide: from a profile of a NIM manifest to the plan that brings its files."""

from pathlib import Path

import msgspec

from nimctl.core.choice import Choice, choose
from nimctl.core.decide import Surroundings
from nimctl.core.decide.workspace import Aims, Piece, plan_workspace, with_engine_tags
from nimctl.core.errors import HardwareError, VerificationError
from nimctl.core.facts import Artifact, Destination, Inventory, carry_digests
from nimctl.core.machine import Host
from nimctl.core.memory import ANY_CAPACITY, CapacityWish
from nimctl.core.nim_manifest import ManifestProfile
from nimctl.core.nim_workspace import WorkspaceSource, pinned_down, sources_of
from nimctl.core.orders import for_replicas
from nimctl.core.plan import Plan
from nimctl.core.requests import ProfilePullRequest
from nimctl.registry_tools import LOCAL_SCHEMES
from nimctl.store.placing import observe
from nimctl.store.transfer.rehash import digest_of
from nimctl.survey import survey_manifest
from nimctl.tools import Tools


def plan_profile_pull(request: ProfilePullRequest, entry: ManifestProfile, tools: Tools) -> Plan:
    """Plan the download of one profile of a manifest.

    Raises:
        NimctlError: As `sources_of`, `plan_workspace` and the registries.
    """
    sources = sources_of(entry)
    inside = [source for source in sources if _is_absent(source)]
    pieces = tuple(_piece(one, request, tools) for one in sources if one not in inside)
    pieces = with_engine_tags(entry, pieces)
    aims = Aims(
        cache=_destination(request.cache, tools), store=_destination(request.model_store, tools)
    )
    blobs = (tools.blobs.among(piece.artifact.files) for piece in pieces)
    around = Surroundings(
        host=tools.host(),
        layout=tools.layout,
        inventory=Inventory(blobs=frozenset().union(*blobs)),
        builder=tools.builder.version,
        python=tools.python,
    )
    plan = plan_workspace(entry, pieces, aims, around)
    notes = (f"{source.ref.path} is not on this machine, but in the image" for source in inside)
    return msgspec.structs.replace(plan, notes=(*plan.notes, *notes))


def chosen_profile(request: ProfilePullRequest, tools: Tools) -> ManifestProfile:
    """The profile that is asked for, or the best that runs here.

    Raises:
        NotFoundError, HardwareError: As `choice_of`.
    """
    id_ = choice_of(request, tools.host(), tools).candidate.profile.id
    return next(entry for entry in request.manifest.profiles if entry.id == id_)


def choice_of(
    request: ProfilePullRequest,
    host: Host,
    tools: Tools,
    capacity: CapacityWish = ANY_CAPACITY,
    *,
    replicas: bool = False,
) -> Choice:
    """The profile that is asked for, or the best that runs on a host; one that is named may not.

    With `replicas` the best is what leaves GPUs for others.

    Raises:
        NotFoundError: The one that is asked for is not among them.
        HardwareError: None was asked for, and none runs on the host.
    """
    found = survey_manifest(request.manifest, host, tools, capacity)
    wish = found.understood(request.wish)
    if wish.profile:
        return Choice(found.matching(wish)[0], "it was asked for")
    order = for_replicas(found.order) if replicas else found.order
    choice = choose(found.candidates, wish, order)
    if choice is None:
        raise HardwareError(
            "no profile of the manifest runs on this machine",
            cause="; ".join(found.candidates[0].reasons),
            hint="name one with --profile; list-profiles --all shows them, with reasons",
        )
    return choice


def _piece(source: WorkspaceSource, request: ProfilePullRequest, tools: Tools) -> Piece:
    """What a source is, pinned; what the lock says and nothing else if there is one."""
    ref = source.ref
    known = pinned = tools.artifacts.pinned(ref)
    if request.lock is not None:
        known = artifact = request.lock.find(ref)
    elif pinned is not None and tools.offline and ref.scheme not in LOCAL_SCHEMES:
        artifact = pinned
    else:
        artifact = carry_digests(tools.registries.find(ref.scheme).resolve(ref), pinned)
    artifact = pinned_down(source, artifact)
    _check_stored(artifact, known, tools)
    return Piece(source=source, artifact=artifact)


def _check_stored(artifact: Artifact, known: Artifact | None, tools: Tools) -> None:
    """Compare what is in the store with a blake3 that was not known when it was fetched.

    Raises:
        VerificationError: They differ; what is in the store stays.
    """
    before = {file.path: file.digests for file in known.files} if known else {}
    for file in artifact.files:
        wanted, sha256 = file.digests.get("blake3"), file.sha256
        is_new = wanted is not None and before.get(file.path, {}).get("blake3") != wanted
        if not is_new or not sha256 or not tools.blobs.has(sha256):
            continue
        found = digest_of(tools.blobs.path(sha256), "blake3")
        if found != wanted:
            raise VerificationError(
                f"{file.path} of {artifact.reference} is not what the manifest wants",
                cause=f"blake3 {found} there, {wanted} in the manifest",
            )


def _is_absent(source: WorkspaceSource) -> bool:
    """Whether a path of the manifest is none of this machine."""
    return source.ref.scheme == "file" and not Path(source.ref.path).exists()


def _destination(directory: str | None, tools: Tools) -> Destination | None:
    return observe(Path(directory).absolute(), tools.layout) if directory else None
