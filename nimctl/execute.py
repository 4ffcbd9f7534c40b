"""Act: the only place where a step meets the tool that does it."""

from pathlib import Path
from typing import assert_never

import msgspec

from nimctl import engine_room, warming
from nimctl.adopting import adopt
from nimctl.core.engine import Engine
from nimctl.core.errors import NotFoundError
from nimctl.core.events import Emit, Finished, Noted, Started
from nimctl.core.facts import Artifact
from nimctl.core.layout import engine_directory
from nimctl.core.plan import (
    Adopt,
    Assemble,
    Attach,
    Await,
    Build,
    Configure,
    Fetch,
    FillCache,
    FillStore,
    Launch,
    LaunchContainer,
    Plan,
    PullImage,
    Replace,
    Step,
    WarmUp,
    Write,
)
from nimctl.core.refs import ModelRef
from nimctl.core.reports import Outcome
from nimctl.core.trtllm.job import EngineJob
from nimctl.fetching import fetch
from nimctl.serving import routers
from nimctl.tools import Tools


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
            tools.servers.stop_launched()
        raise
    tools.let_go()
    return outcome


def _act(step: Step, outcome: Outcome, tools: Tools, emit: Emit) -> Outcome:
    match step:
        case Fetch():
            return fetch(step, outcome, tools, emit)
        case Assemble():
            emit(Started(task="assemble", title=f"laying out {step.directory}"))
            tools.models.assemble(_pinned(step.reference, tools), Path(step.directory))
        case Build() | Adopt():
            engine, built = _have_engine(step, tools, emit)
            return msgspec.structs.replace(outcome, engine=engine, built=built)
        case Attach():
            key = _attached_key(step, outcome, tools)
            emit(Started(task="attach", title=f"attaching engine {key[:12]}"))
            inside = Path(step.directory) / engine_directory(step.recipe.backend)
            tools.models.attach(tools.engines.path(key), inside)
            tools.engines.touch(key)
        case FillCache() | FillStore():
            emit(Started(task="fill", title=f"laying out {step.directory}"))
            _fill(step, tools)
            emit(Finished(task="fill"))
        case PullImage():
            login = tools.registries.image_login(step.image)
            tools.containers.pull(step.image, emit, platform=step.platform, login=login)
        case Write() | Configure():
            _write(step)
        case Launch() | LaunchContainer() | Await() | Replace():
            _serve(step, tools, emit)
        case WarmUp():
            assert outcome.engine is not None  # noqa: S101 - it is built before its server starts
            warm = warming.warm_up(step, outcome.engine, tools, emit)
            return msgspec.structs.replace(outcome, engine=warm)
        case _:
            assert_never(step)
    return outcome


def _attached_key(step: Attach, outcome: Outcome, tools: Tools) -> str:
    if step.engine is not None:
        return Path(step.engine).name
    if outcome.engine is not None:
        return outcome.engine.key
    return step.recipe.key(_pinned(step.reference, tools).digest or "")


def _serve(step: Launch | LaunchContainer | Await | Replace, tools: Tools, emit: Emit) -> None:
    if isinstance(step, Replace):
        launch = warming.with_kernels(step.launch, tools)
        tools.groups.replace(msgspec.structs.replace(step, launch=launch), emit)
    elif isinstance(step, Await):
        emit(Started(task="ready", title=f"loading {step.server.name}"))
        tools.servers.wait_ready(step, emit)
        emit(Finished(task="ready", note=step.server.url))
    else:
        emit(Started(task="launch", title=f"starting {step.server.name}"))
        if isinstance(step, LaunchContainer):
            step = warming.with_kernels(step, tools)
        tools.servers.launch(step, emit)
        emit(Finished(task="launch"))


def _write(step: Write | Configure) -> None:
    if isinstance(step, Configure):
        routers.configure(step)
        return
    path = Path(step.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(step.text, encoding="utf-8")


def _fill(step: FillCache | FillStore, tools: Tools) -> None:
    directory = Path(step.directory)
    if isinstance(step, FillStore):
        tools.nim_cache.fill_store(directory, step.profile, _digests(step, tools))
        return
    for model in step.models:
        tools.nim_cache.fill(directory, model, _pinned(model.reference, tools))


def _digests(step: FillStore, tools: Tools) -> dict[str, str]:
    """The sha256 of what goes to each path."""
    references = {file.reference for file in step.files}
    known = {
        (reference, file.path): file.sha256 or ""
        for reference in references
        for file in _pinned(reference, tools).files
    }
    return {file.path: known[file.reference, file.file] for file in step.files}


def _have_engine(step: Build | Adopt, tools: Tools, emit: Emit) -> tuple[Engine, bool]:
    if isinstance(step, Build):
        return _build(step, tools, emit)
    emit(Started(task="adopt", title=f"taking over the engine in {step.reference}"))
    engine = adopt(step, tools.artifacts.pinned(ModelRef.parse(step.reference)), tools)
    emit(Finished(task="adopt", note=engine.key[:12]))
    return engine, False


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

        engine_room.clear_orphans(tools, emit)
        site = Site(key, checkpoint, staging, tools.layout.build_log(key))
        return tools.trtllm_builder(job).build(job, site, emit)

    def wait() -> None:
        emit(Noted(message="another process builds this engine; waiting for it"))

    engine, built = tools.engines.obtain(artifact, step.recipe, build, on_wait=wait)
    if built and (gone := engine_room.keep_to_limit(tools, engine.key, emit)):
        emit(Noted(message=f"{len(gone.engines)} engines removed, to keep to the limit"))
    return engine, built


def _pinned(reference: str, tools: Tools) -> Artifact:
    artifact = tools.artifacts.pinned(ModelRef.parse(reference))
    if artifact is None:
        raise NotFoundError(f"{reference} is not in the store", hint=f"nimctl pull '{reference}'")
    return artifact
