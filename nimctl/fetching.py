"""Bring an artifact into the store: transfer, unpack, look into, pin."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from nimctl.core.archives import archives_in, settled
from nimctl.core.decide import fetch_step
from nimctl.core.errors import VerificationError
from nimctl.core.events import Emit, Event, Finished, Noted, Started
from nimctl.core.facts import Artifact, File, Inventory, carry_digests
from nimctl.core.findings import Finding
from nimctl.core.plan import Fetch
from nimctl.core.ports import Fetched
from nimctl.core.refs import ModelRef
from nimctl.core.reports import Brought, Outcome
from nimctl.tools import Tools

if TYPE_CHECKING:
    from nimctl.store.transfer.follower import MakeFollower


def fetch(step: Fetch, outcome: Outcome, tools: Tools, emit: Emit) -> Outcome:
    """Fetch what is missing, one process at a time for a reference; nothing comes twice."""
    ref = ModelRef.parse(step.reference)
    with alone(ref, step.artifact.files, tools, emit):
        step = _as_of_now(step, tools.artifacts.pinned(ref), tools)
        files = step.artifact.files
        archives = [file for file in files if file.path in step.unpack]
        unpacking = tools.unpacker.begin(archives) if archives else None
        fetched = _transfer(step, unpacking.followers if unpacking else {}, tools, emit)
        artifact = _with_digests(step.artifact, fetched)
        if unpacking:
            artifact = unpacking.settle(artifact)
        try:
            findings = _inspect(artifact, tools, emit)
        except VerificationError:
            tools.unfinished.forget(ref.digest)  # no other run would take it
            raise
        tools.artifacts.pin(ref, artifact)
        tools.unfinished.forget(ref.digest)
        tools.transfer.forget(files, step.unpack, name=ref.digest)
    brought = Brought(artifact=artifact, fetched=fetched)
    return msgspec.structs.replace(
        outcome,
        brought=(*outcome.brought, brought),
        findings=(*outcome.findings, *findings),
    )


@contextmanager
def alone(ref: ModelRef, files: Iterable[File], tools: Tools, emit: Emit) -> Iterator[None]:
    """Be the only process that fetches a reference, and have it noted what that needs.

    Who has brought it has the note forgotten.
    """

    def wait() -> None:
        emit(Noted(message=f"{ref} is being fetched by another process; waiting"))

    with tools.artifacts.alone(ref, on_wait=wait):
        tools.unfinished.want(ref.digest, files)
        yield


def _as_of_now(step: Fetch, pinned: Artifact | None, tools: Tools) -> Fetch:
    """The step with what another process may have fetched since it was planned."""
    if pinned is None:
        return step
    if archives_in(step.artifact) and not step.unpack:
        # They are wanted as they are.
        artifact = carry_digests(step.artifact, pinned)
        held = tools.blobs.among(artifact.files)
        missing = tuple(file for file in artifact.files if file.sha256 not in held)
        return msgspec.structs.replace(step, artifact=artifact, missing=missing)
    artifact = settled(carry_digests(step.artifact, pinned), pinned)
    inventory = Inventory(blobs=tools.blobs.among(artifact.files))
    return fetch_step(step.reference, artifact, inventory)


def _transfer(
    step: Fetch, follow: Mapping[str, "MakeFollower"], tools: Tools, emit: Emit
) -> tuple[Fetched, ...]:
    def emit_part(event: Event) -> None:
        part = isinstance(event, Started)
        emit(msgspec.structs.replace(event, parent="fetch") if part else event)

    files = step.artifact.files
    title = f"{step.reference}, {len(files)} {'file' if len(files) == 1 else 'files'}"
    emit(Started(task="fetch", title=title, total=step.artifact.size))
    ref = ModelRef.parse(step.reference)
    locate = tools.registries.find(ref.scheme).locate
    fetched = tools.transfer.fetch(files, locate, emit_part, follow, name=ref.digest)
    emit(Finished(task="fetch"))
    return fetched


def _inspect(artifact: Artifact, tools: Tools, emit: Emit) -> tuple[Finding, ...]:
    """Look into weight files before they are pinned, and so before anything loads them."""
    from nimctl.store.formats import inspect_file

    findings = tuple(
        finding
        for file in artifact.files
        for finding in inspect_file(tools.blobs.path(file.sha256 or ""), file.path)
    )
    for finding in findings:
        word = "WARNING: " if finding.severity == "danger" else ""
        emit(Noted(message=f"{word}{finding.path}: {finding.message}"))
    return findings


def _with_digests(artifact: Artifact, fetched: Sequence[Fetched]) -> Artifact:
    by_path = {one.path: one for one in fetched}
    files = tuple(_with_digest(file, by_path[file.path]) for file in artifact.files)
    return msgspec.structs.replace(artifact, files=files)


def _with_digest(file: File, fetched: Fetched) -> File:
    return msgspec.structs.replace(
        file,
        size=fetched.size,
        served_etag=fetched.etag or file.served_etag,
        digests={**file.digests, "sha256": fetched.sha256},
    )
