"""What a shell completes: names of models, profiles, GPUs and servers.

It is asked between two keys, and prints what it is told into the line that is being typed. So
nothing is said of what goes wrong, and a container engine that does not answer is soon given up.
"""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from nimctl.tools import Tools

_ENGINE_ANSWER_S = 1

Find = Callable[[click.Context, "Tools"], Iterable[str]]
Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def complete_gpu(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Keys of GPUs."""
    from nimctl.core.gpus import keys

    return [key for key in keys() if key.startswith(incomplete.lower())]


def _completes(find: Find) -> Complete:
    """Offer those that begin as the word does, once each; none where they cannot be found."""

    @wraps(find)
    def wrapper(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        from nimctl.cli.commands import COMMANDS
        from nimctl.core.errors import NimctlError
        from nimctl.settings import load
        from nimctl.tools import Tools

        try:
            settings = load(commands=COMMANDS)
            with Tools(settings, engine_answer_s=_ENGINE_ANSWER_S) as tools:
                names = dict.fromkeys(find(ctx, tools))
        except NimctlError:
            return []
        return [name for name in names if name.startswith(incomplete)]

    return wrapper


@_completes
def complete_model(_ctx: click.Context, tools: "Tools") -> Iterable[str]:
    """Names of the catalogue."""
    return tools.catalog.names()


@_completes
def complete_server(ctx: click.Context, tools: "Tools") -> Iterable[str]:
    """Names of servers, but for those that stand in the line already."""
    return [name for name in _servers(tools) if name not in ctx.params.get("names", ())]


@_completes
def complete_inspected(ctx: click.Context, tools: "Tools") -> Iterable[str]:
    """Names of servers and of the catalogue, or what `--type` says."""
    kind = ctx.params.get("kind")
    return [
        *(_servers(tools) if kind != "model" else ()),
        *(tools.catalog.names() if kind != "server" else ()),
    ]


@_completes
def complete_removed(ctx: click.Context, tools: "Tools") -> Iterable[str]:
    """Names of servers, and unless `--server` is given those of the catalogue."""
    return [*_servers(tools), *(() if ctx.params.get("server") else tools.catalog.names())]


@_completes
def complete_profile(ctx: click.Context, tools: "Tools") -> Iterable[str]:
    """Names of the profiles of a manifest, or of a model here."""
    from nimctl.core.nim_manifest import ManifestSource
    from nimctl.core.nim_profiles import name_of
    from nimctl.core.variants import parts_of, profiles_of
    from nimctl.manifest_lookup import find_manifest

    manifest = ctx.params.get("file")
    if manifest and manifest != "-":
        source = ManifestSource(kind="file", place=manifest)
        found = find_manifest(source, tools, lambda _event: None)
        return [name_of(one.tags) for one in found.manifest.profiles]
    # While an option waits for its value, click has not yet given out the arguments.
    model = ctx.params.get("model") or next(iter(ctx.args), None)
    profiles = profiles_of(tools.catalog.find(str(model)), parts_of(tools.host()))
    return [one.name for one in profiles]


def _servers(tools: "Tools") -> list[str]:
    """Embedded servers also where the container engine cannot even be asked."""
    from nimctl.core.errors import NimctlError

    try:
        return tools.servers.names()
    except NimctlError:
        return tools.embedded_servers.names()
