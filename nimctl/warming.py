"""Warm caches: the directories of servers' kernels, and the start that fills one."""

from pathlib import Path

import msgspec

from nimctl.core.engine import Engine, WarmedUp
from nimctl.core.errors import NimctlError, NotFoundError
from nimctl.core.events import Emit, Finished, Noted, Reached, Started
from nimctl.core.plan import LaunchContainer, WarmUp
from nimctl.core.refs import ModelRef
from nimctl.core.trtllm.kernel_cache import cache_of, with_cache
from nimctl.tools import Tools


def with_kernels(launch: LaunchContainer, tools: Tools) -> LaunchContainer:
    """The server with the directory of its kernels, which has what others like it compiled.

    What names the directory is known by now: the image and the model are here.
    """
    cache = launch.cache
    if cache is None:
        return launch
    image = cache.image or _image(launch, tools)
    key = cache.key(image, cache.model or _digest(cache.reference, tools))
    directory = tools.kernels.directory(key, cache.indices)
    return msgspec.structs.replace(
        launch,
        container=with_cache(launch.container, str(directory)),
        cache=msgspec.structs.replace(cache, image=image),
    )


def warm_up(step: WarmUp, engine: Engine, tools: Tools, emit: Emit) -> Engine:
    """Fill the directory of a server's kernels, unless it is; the engine says what came of it.

    A failure is told and not raised: the checkpoint can be served, only its first start takes
    longer.
    """

    def wait() -> None:
        emit(Noted(message="another process warms up this server; waiting for it"))

    with tools.kernels.alone(step.launch.server.name, on_wait=wait):
        launch = with_kernels(step.launch, tools)
        directory = Path(cache_of(launch.container) or "")
        found = tools.kernels.warmed(directory) or _fill(step, launch, engine, tools, emit)
    return tools.engines.note_warm_up(engine, found)


def _fill(
    step: WarmUp, launch: LaunchContainer, engine: Engine, tools: Tools, emit: Emit
) -> WarmedUp:
    emit(Started(task="ready", title=f"warming up {launch.server.model}"))
    emit(Reached(task="ready", stage=f"starting {launch.server.name}"))
    log = tools.layout.build_log(engine.key)
    failure = tools.first_start.run(launch, step.ready, log, emit)
    found = WarmedUp(
        result="failed" if failure else "warm",
        image=(launch.cache.image if launch.cache else None) or "",
        cache=cache_of(launch.container) or "",
        error=failure.message if failure else None,
        cause=failure.cause if failure else None,
    )
    if failure:
        emit(Noted(message=_words(failure, engine)))
    else:
        tools.kernels.keep(found)
        emit(Reached(task="ready", stage=f"what it compiled is in {found.cache}"))
        emit(Finished(task="ready"))
    return found


def _words(failure: NimctlError, engine: Engine) -> str:
    lines = [f"WARNING: the warm-up failed; what was built is kept: {failure.message}"]
    if failure.cause:
        lines.append(f"cause: {failure.cause}")
    if failure.hint:
        lines.append(f"hint: {failure.hint}")
    lines.append(f"the whole log: nimctl engines log {engine.key[:12]}")
    return "\n".join(lines)


def _image(launch: LaunchContainer, tools: Tools) -> str:
    image = tools.containers.image(launch.container.image)
    if image is None:
        raise NotFoundError(f"the engine does not have the image {launch.container.image}")
    return image.id


def _digest(reference: str, tools: Tools) -> str:
    artifact = tools.artifacts.pinned(ModelRef.parse(reference))
    if artifact is None or artifact.digest is None:
        raise NotFoundError(f"{reference} is not in the store", hint=f"nimctl pull '{reference}'")
    return artifact.digest
