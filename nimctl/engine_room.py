"""The room that engines take: which are in use, and which go when there is a limit."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from nimctl.core.engine import Engine
from nimctl.core.errors import ContainerEngineError, NoContainerEngineError
from nimctl.core.events import Emit, Noted
from nimctl.core.refs import ModelRef
from nimctl.core.reports import EnginesRemoved
from nimctl.core.retention import Kept, surplus
from nimctl.core.trtllm.job import BUILD_LABEL
from nimctl.tools import Tools


def prune_engines(
    max_bytes: int, tools: Tools, emit: Emit, *, remove: bool, keep: str | None = None
) -> EnginesRemoved:
    """Find the engines that were used least recently, until the rest fits; what builds left too.

    `remove` tells whether they go, or are only counted; `keep` is the key of one that stays.
    """
    users = users_of_engines(tools)
    engines = {engine.key: engine for engine in tools.engines.all()}
    kept = [
        Kept(
            key=key,
            size=engine.size,
            used=tools.engines.last_used(key).isoformat(),
            in_use=key in users or key == keep,
        )
        for key, engine in engines.items()
    ]
    chosen = [engines[key] for key in surplus(kept, max_bytes)]
    if remove:
        clear_orphans(tools, emit)
        return remove_engines(chosen, tools)
    return EnginesRemoved(
        engines=tuple(engine.key for engine in chosen),
        bytes_freed=sum(engine.size for engine in chosen),
    )


def clear_orphans(tools: Tools, emit: Emit) -> None:
    """Remove what builds whose nimctl was killed have left: containers, which hold GPUs, and files.

    Those of other homes are not touched. Where the container engine cannot do it that is said, and
    fails nothing: the next build or pruning tries again.
    """
    try:
        for one in tools.containers.containers({BUILD_LABEL: None}):
            if _builds_here(one.name, tools) and tools.engines.is_idle(one.labels[BUILD_LABEL]):
                # Not by its name: by now another build may have that.
                tools.containers.remove(one.id)
    except NoContainerEngineError:
        pass  # nor containers
    except ContainerEngineError as error:
        why = f"{error.message}: {error.cause}" if error.cause else error.message
        emit(Noted(message=f"containers of builds that were killed may be left; {why}"))
    tools.engines.clear_leftovers()


def _builds_here(name: str, tools: Tools) -> bool:
    spec = tools.containers.spec(name)
    engines = tools.layout.engine("x").parent
    return spec is not None and any(Path(one.source).parent == engines for one in spec.mounts)


def keep_to_limit(tools: Tools, new: str, emit: Emit) -> EnginesRemoved | None:
    """Make room for a new engine where a limit is configured; None when nothing had to go."""
    limit = tools.settings.engines_limit
    if limit is None:
        return None
    gone = prune_engines(limit, tools, emit, remove=True, keep=new)
    return gone if gone.engines else None


def remove_engines(engines: Iterable[Engine], tools: Tools) -> EnginesRemoved:
    """Remove engines, and where they are linked to."""
    keys, freed = [], 0
    for engine in engines:
        # The links have to go too, or the disk stays as full as it was.
        tools.models.detach(tools.engines.path(engine.key))
        tools.engines.remove(engine.key)
        if engine.warm_up:
            tools.kernels.remove(engine.warm_up)
        keys.append(engine.key)
        freed += engine.size
    return EnginesRemoved(engines=tuple(keys), bytes_freed=freed)


def users_of_engines(tools: Tools) -> dict[str, list[str]]:
    """Running servers by the key of the engine that they have loaded."""
    users: dict[str, list[str]] = {}
    for name, directory in _running(tools):
        for key in tools.models.attached(directory):
            users.setdefault(key, []).append(name)
    return users


def _running(tools: Tools) -> Iterator[tuple[str, Path]]:
    for server in tools.servers.all():
        if server.state != "exited":
            ref = ModelRef.parse(server.reference)
            yield server.name, tools.layout.model(ref.directory_name, server.profile)
