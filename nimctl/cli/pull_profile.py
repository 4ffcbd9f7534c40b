"""`nimctl pull --manifest`: the files of one profile of a NIM."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.core.lock import Lock
    from nimctl.core.nim_manifest import ManifestProfile, ManifestSource
    from nimctl.core.profile import Wish
    from nimctl.core.reports import Brought, Outcome, ProfilePullReport, PulledSource
    from nimctl.core.requests import ProfilePullRequest
    from nimctl.tools import Tools


class Asked(NamedTuple):
    """What the command line says; without `cache` and `model_store`, the settings' cache counts."""

    manifest: "ManifestSource"
    pull_image: bool
    wish: "Wish"
    lock: "Lock | None"
    cache: str | None
    model_store: str | None


class Found(NamedTuple):
    """The request and the profile that it leads to."""

    request: "ProfilePullRequest"
    entry: "ManifestProfile"


def find(asked: Asked, tools: "Tools", output: "Output") -> Found:
    """Read the manifest and choose the profile."""
    import msgspec

    from nimctl.cli import manifests
    from nimctl.core.requests import ProfilePullRequest
    from nimctl.profile_pull import chosen_profile

    source = asked.manifest
    found = manifests.read(source, tools, output, pull_image=asked.pull_image)
    default = tools.settings.nim_cache if not asked.model_store else None
    request = ProfilePullRequest(
        manifest=found.manifest,
        wish=asked.wish,
        lock=asked.lock,
        cache=asked.cache or default,
        model_store=asked.model_store,
    )
    entry = chosen_profile(request, tools)
    if source.kind == "image" and not entry.container:
        entry = msgspec.structs.replace(entry, container=source.place)
    return Found(request, entry)


def pull(
    found: Found, tools: "Tools", output: "Output", *, dry_run: bool, lock_file: Path | None
) -> None:
    """Bring the files, or print how."""
    from nimctl import execute
    from nimctl.cli.dry_run import show
    from nimctl.cli.locks import write_lock
    from nimctl.profile_pull import plan_profile_pull

    plan = plan_profile_pull(found.request, found.entry, tools)
    if dry_run:
        show(plan, tools, output)
        return
    with output.progress() as progress:
        outcome = execute.run(plan, tools, progress)
    if lock_file:
        write_lock(lock_file, outcome)
    report = _report(found, outcome, tools)
    output.data(report, lambda: _lines(report))
    for note in plan.notes[1:]:
        output.note(note)
    if report.inferred_blob_names:
        output.note(
            f"{report.inferred_blob_names} blobs of the cache are named by sha256, their ETag is "
            "not known; NIM is reported to go by `snapshots` alone"
        )


def _report(found: Found, outcome: "Outcome", tools: "Tools") -> "ProfilePullReport":
    from nimctl.core.nim_profiles import name_of
    from nimctl.core.nim_workspace import blob_name, cached_model
    from nimctl.core.reports import ProfilePullReport

    request, entry = found
    fetched = [one for brought in outcome.brought for one in brought.fetched]
    inferred = {
        file.sha256
        for brought in outcome.brought
        if request.cache and (model := cached_model(brought.artifact))
        for file in brought.artifact.files
        if not blob_name(model, file).is_known
    }
    return ProfilePullReport(
        profile=entry.id,
        name=name_of(entry.tags),
        model=entry.model or request.manifest.model,
        sources=tuple(_source(brought, request.cache, tools) for brought in outcome.brought),
        cache=request.cache,
        model_store=request.model_store,
        inferred_blob_names=len(inferred),
        environment={"NIM_MODEL_PROFILE": entry.id},
        findings=outcome.findings,
        bytes_fetched=sum(one.bytes_fetched for one in fetched),
        bytes_reused=sum(one.bytes_reused for one in fetched),
    )


def _source(brought: "Brought", cache: str | None, tools: "Tools") -> "PulledSource":
    from nimctl.cli.pulled import pulled_files
    from nimctl.core.nim_workspace import cached_model
    from nimctl.core.reports import PulledSource

    artifact = brought.artifact
    model = cached_model(artifact) if cache else None
    return PulledSource(
        reference=artifact.reference,
        revision=artifact.revision,
        files=pulled_files(brought, tools.layout),
        cached=str(Path(cache or "", model.path, "snapshots", model.snapshot)) if model else None,
    )


def _lines(report: "ProfilePullReport") -> Iterator[str]:
    from nimctl.cli.units import size

    files = sum(len(source.files) for source in report.sources)
    yield f"{report.name} ({report.profile}): {files} file{'' if files == 1 else 's'} verified"
    yield f"{size(report.bytes_fetched)} fetched, {size(report.bytes_reused)} were there"
    for source in report.sources:
        if source.cached:
            yield f"in NIM's cache: {source.cached}"
    if report.model_store:
        yield f"in the model store: {report.model_store}"
