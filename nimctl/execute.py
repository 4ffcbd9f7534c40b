"""Act: the only place where a step meets the tool that does it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, assert_never

import msgspec

from nimctl.core.archives import settled
from nimctl.core.decide import fetch_step
from nimctl.core.engine import Engine
from nimctl.core.errors import NotFoundError
from nimctl.core.events import Emit, Event, Finished, Noted, Started
from nimctl.core.facts import Artifact, File, Inventory, carry_digests
from nimctl.core.findings import Finding
from nimctl.core.layout import engine_directory
from nimctl.core.plan import (
    Assemble,
    Attach,
    Await,
    Build,
    Configure,
    Fetch,
    Launch,
    LaunchContainer,
    Plan,
    PullImage,
    Step,
)
from nimctl.core.ports import Fetched
from nimctl.core.refs import ModelRef
from nimctl.core.reports import Outcome
from nimctl.core.trtllm.job import EngineJob
from nimctl.serving import routers
from nimctl.tools import Tools

if TYPE_CHECKING:
    from nimctl.store.transfer.follower import MakeFollower

_Fetch: TypeAlias = tuple[Artifact, tuple[Fetched, ...], tuple[Finding, ...]]


def run(plan: Plan, tools: Tools, emit: Emit) -> Outcome:
    """Walk the steps; each is idempotent, so that running a plan again goes on where it stopped.

    A server that was launched is stopped when a later step fails or is interrupted.
    """
    outcome = Outcome()
    try:
        for step in plan.steps:
            outcome = _act(step, outcome, tools, emit)
    except BaseException:
        if any(isinstance(step, Launch | LaunchContainer) for step in plan.steps):
            tools.launcher.stop_launched()
        raise
    return outcome


def _act(step: Step, outcome: Outcome, tools: Tools, emit: Emit) -> Outcome:
    match step:
        case Fetch():
            fetch = _fetch_and_unpack if step.unpack else _fetch
            artifact, fetched, findings = fetch(step, tools, emit)
            return msgspec.structs.replace(
                outcome, artifact=artifact, fetched=fetched, findings=findings
            )
        case Assemble():
            emit(Started(task="assemble", title=f"laying out {step.directory}"))
            tools.models.assemble(_pinned(step.reference, tools), Path(step.directory))
        case Build():
            engine, built = _build(step, tools, emit)
            return msgspec.structs.replace(outcome, engine=engine, built=built)
        case Attach():
            key = step.recipe.key(_pinned(step.reference, tools).digest or "")
            emit(Started(task="attach", title=f"attaching engine {key[:12]}"))
            inside = Path(step.directory) / engine_directory(step.recipe.backend)
            tools.models.attach(tools.engines.path(key), inside)
        case PullImage():
            login = tools.image_login(step.image)
            tools.containers.pull(step.image, emit, platform=step.platform, login=login)
        case Configure():
            routers.configure(step)
        case Launch() | LaunchContainer():
            emit(Started(task="launch", title=f"starting {step.server.name}"))
            tools.launcher.launch(step)
            emit(Finished(task="launch"))
        case Await():
            emit(Started(task="ready", title=f"loading {step.server.name}"))
            tools.launcher.wait_ready(step)
            emit(Finished(task="ready", note=step.server.url))
        case _:
            assert_never(step)
    return outcome


def _fetch(step: Fetch, tools: Tools, emit: Emit) -> _Fetch:
    artifact, fetched = _transfer(step, tools, emit)
    findings = _inspect(artifact, tools, emit)
    _pin(step.reference, artifact, tools)
    return artifact, fetched, findings


def _fetch_and_unpack(step: Fetch, tools: Tools, emit: Emit) -> _Fetch:
    ref = ModelRef.parse(step.reference)

    def wait() -> None:
        emit(Noted(message=f"{ref} is being fetched by another process; waiting"))

    with tools.unpacker.alone(ref, on_wait=wait):
        pinned = tools.artifacts.pinned(ref)
        if pinned and pinned == settled(carry_digests(step.artifact, pinned), pinned):
            inventory = Inventory(blobs=tools.blobs.among(pinned.files))
            step = fetch_step(step.reference, pinned, inventory)
        archives = [file for file in step.artifact.files if file.path in step.unpack]
        unpacking = tools.unpacker.begin(archives)
        artifact, fetched = _transfer(step, tools, emit, unpacking.followers)
        artifact = unpacking.settle(artifact)
        findings = _inspect(artifact, tools, emit)
        _pin(step.reference, artifact, tools)
        tools.transfer.forget(archives)
    return artifact, fetched, findings


def _transfer(
    step: Fetch, tools: Tools, emit: Emit, follow: Mapping[str, "MakeFollower"] | None = None
) -> tuple[Artifact, tuple[Fetched, ...]]:
    def emit_part(event: Event) -> None:
        part = isinstance(event, Started)
        emit(msgspec.structs.replace(event, parent="fetch") if part else event)

    ref = ModelRef.parse(step.reference)
    files = step.artifact.files
    title = f"{step.reference}, {len(files)} {'file' if len(files) == 1 else 'files'}"
    emit(Started(task="fetch", title=title, total=step.artifact.size))
    fetched = tools.transfer.fetch(files, tools.registry(ref.scheme).locate, emit_part, follow)
    emit(Finished(task="fetch"))
    by_path = {one.path: one for one in fetched}
    artifact = msgspec.structs.replace(
        step.artifact, files=tuple(_with_digest(file, by_path) for file in files)
    )
    return artifact, fetched


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


def _pin(reference: str, artifact: Artifact, tools: Tools) -> None:
    tools.artifacts.pin(ModelRef.parse(reference), artifact)


def _with_digest(file: File, fetched: Mapping[str, Fetched]) -> File:
    one = fetched[file.path]
    return msgspec.structs.replace(
        file,
        size=one.size,
        served_etag=one.etag or file.served_etag,
        digests={**file.digests, "sha256": one.sha256},
    )


def _build(step: Build, tools: Tools, emit: Emit) -> tuple[Engine, bool]:
    artifact = _pinned(step.reference, tools)
    checkpoint = Path(step.directory)

    def build(staging: Path) -> str | None:
        if step.job:
            return _build_trtllm(step.job, step.recipe.key(artifact.digest or ""), staging)
        tools.builder.build(checkpoint, step.recipe, staging, emit)
        return None

    def _build_trtllm(job: EngineJob, key: str, staging: Path) -> str | None:
        from nimctl.engines.trtllm.runners import Site

        site = Site(key, checkpoint, staging, tools.layout.build_log(key))
        return tools.trtllm_builder(job).build(job, site, emit)

    def wait() -> None:
        emit(Noted(message="another process builds this engine; waiting for it"))

    return tools.engines.obtain(artifact, step.recipe, build, on_wait=wait)


def _pinned(reference: str, tools: Tools) -> Artifact:
    artifact = tools.artifacts.pinned(ModelRef.parse(reference))
    if artifact is None:
        raise NotFoundError(f"{reference} is not in the store", hint=f"nimctl pull '{reference}'")
    return artifact
