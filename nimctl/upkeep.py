"""Keeping the store sound: what is damaged, and what nobody needs."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from nimctl import execute, stored
from nimctl.core.decide import fetch_step
from nimctl.core.engine import Engine
from nimctl.core.errors import NoContainerEngineError
from nimctl.core.events import Emit, Finished, Started
from nimctl.core.facts import Artifact, File, Inventory
from nimctl.core.plan import Plan, Step
from nimctl.core.refs import ModelRef
from nimctl.core.reports import ByteRange, Damage, PruneReport, VerifyReport
from nimctl.tools import Tools


def verify(refs: Iterable[ModelRef], tools: Tools, emit: Emit) -> VerifyReport:
    """Read every file of these models again, and of all models when none is named.

    Raises:
        NotFoundError: The store has nothing of a model.
    """
    artifacts = [one for ref in refs for one in stored.artifacts_of(ref, tools)]
    chosen = artifacts or list(tools.artifacts.all())
    references = {artifact.reference for artifact in chosen}
    engines = [engine for engine in tools.engines.all() if engine.reference in references]
    damaged = [*_damaged_blobs(chosen, tools, emit), *_damaged_engines(engines, tools, emit)]
    sizes = [file.size or 0 for artifact in chosen for file in artifact.files]
    sizes += [file.size for engine in engines for file in engine.files]
    return VerifyReport(
        files_checked=len(sizes), bytes_checked=sum(sizes), damaged=tuple(damaged), repaired=False
    )


def repair(report: VerifyReport, tools: Tools, emit: Emit) -> None:
    """Fetch again what is damaged, and only that; damaged engines go and are built when needed."""
    for damage in report.damaged:
        if damage.engine is None:
            _make_way(damage.sha256, tools)
        elif tools.engines.find(damage.engine) is not None:
            tools.engines.remove(damage.engine)
    steps = tuple(_fetches(report, tools))
    execute.run(Plan(steps=steps), tools, emit)


def prune(tools: Tools, *, unfinished: bool, kernels: bool, remove: bool) -> PruneReport:
    """Find blobs that no model refers to, nor a download that may go on.

    With `unfinished` also what is there of downloads that no process is at, with `kernels` what
    servers compiled that are gone. `remove` tells whether they go, or are only counted.

    Raises:
        ContainerEngineError: The engine does not tell which servers there are.
    """
    with tools.unfinished.removing():
        needed = tools.unfinished.needed(running=unfinished)
        used = stored.pinned_blobs(tools) | needed
        blobs = [sha256 for sha256 in tools.blobs if sha256 not in used]
        freed = sum(tools.blobs.path(sha256).stat().st_size for sha256 in blobs)
        for sha256 in blobs if remove else ():
            tools.blobs.remove(sha256)
        gone = []
        for leftover in tools.unfinished.abandoned() if unfinished else ():
            freed += _clear(leftover.paths, remove=remove)
            gone += [] if leftover.is_fetch else [leftover.name]
    idle = _idle_kernels(tools) if kernels else []
    freed += _clear(idle, remove=remove)
    return PruneReport(
        blobs=tuple(blobs),
        unfinished=tuple(gone),
        kernels=tuple(map(str, idle)),
        bytes_freed=freed,
    )


def _clear(paths: Iterable[Path], *, remove: bool) -> int:
    """Remove files and directories, or only count the bytes that they take."""
    taken = 0
    for path in paths:
        taken += sum(_disk_usage(inside) for inside in (path, *path.rglob("*")))
        if remove and path.is_dir():
            shutil.rmtree(path)
        elif remove:
            path.unlink(missing_ok=True)
    return taken


def _idle_kernels(tools: Tools) -> list[Path]:
    """What servers compiled, but for those that exist and for engines in the store."""
    noted = {one.warm_up.cache for one in tools.engines.all() if one.warm_up}
    with suppress(NoContainerEngineError):
        noted |= set(tools.container_servers.mounted())
    needed = {Path(path).parent for path in noted}
    return [path for path in tools.kernels.all() if path not in needed]


def _make_way(sha256: str, tools: Tools) -> None:
    """Leave of a damaged blob what is good, where that is known, and else nothing."""
    if tools.blobs.has(sha256) and not tools.transfer.reopen(sha256):
        tools.blobs.remove(sha256)


def _fetches(report: VerifyReport, tools: Tools) -> Iterator[Step]:
    references = sorted({one.reference for one in report.damaged if one.engine is None})
    for reference in references:
        artifact = tools.artifacts.pinned(ModelRef.parse(reference))
        if artifact is not None:
            inventory = Inventory(blobs=tools.blobs.among(artifact.files))
            yield fetch_step(reference, artifact, inventory)


def _damaged_blobs(artifacts: list[Artifact], tools: Tools, emit: Emit) -> Iterator[Damage]:
    for artifact in artifacts:
        for file in artifact.files:
            emit(Started(task=file.path, title=file.path, total=file.size))
            state = _state_of_blob(file, tools)
            emit(Finished(task=file.path, note=state))
            if state != "sound":
                sha256 = file.sha256 or ""
                bad = tools.transfer.damaged_pieces(sha256) if state == "damaged" else ()
                yield Damage(
                    reference=artifact.reference,
                    path=file.path,
                    sha256=sha256,
                    state=state,
                    ranges=tuple(ByteRange(start=one.start, end=one.end) for one in bad),
                )


def _state_of_blob(file: File, tools: Tools) -> str:
    try:
        return "sound" if tools.blobs.check(file.sha256 or "") else "damaged"
    except FileNotFoundError:
        return "missing"


def _damaged_engines(engines: list[Engine], tools: Tools, emit: Emit) -> Iterator[Damage]:
    for engine in engines:
        for file in engine.files:
            path = tools.engines.path(engine.key) / file.path
            emit(Started(task=str(path), title=str(path), total=file.size))
            state = _state_of_file(path, file.sha256)
            emit(Finished(task=str(path), note=state))
            if state != "sound":
                yield Damage(
                    reference=engine.reference,
                    path=file.path,
                    sha256=file.sha256,
                    state=state,
                    engine=engine.key,
                )


def _state_of_file(path: Path, sha256: str) -> str:
    try:
        return "sound" if stored.sha256_of(path) == sha256 else "damaged"
    except FileNotFoundError:
        return "missing"


def _disk_usage(path: Path) -> int:
    # Parts are preallocated: what counts is the blocks that they take.
    block = 512
    return path.stat().st_blocks * block
