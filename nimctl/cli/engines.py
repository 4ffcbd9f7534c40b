"""`nimctl engines`: what was built, kept under its key."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nimctl.cli.guesses import Subcommands
from nimctl.cli.options import output_options, parse_reference

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.core.reports import EngineList, EnginesRemoved
    from nimctl.settings import Settings


class _Size(click.ParamType[int]):
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from nimctl.core.sizes import parse_size

        size = parse_size(str(value))
        if size is None:
            self.fail(f"`{value}` is no size; use such as 200GiB", param, ctx)
        return size


def _complete_engine(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from nimctl.settings import load
    from nimctl.tools import Tools

    with Tools(load()) as tools:
        keys = [engine.key[:12] for engine in tools.engines.all()]
    return [key for key in keys if key.startswith(incomplete)]


_KEY = click.argument("key", metavar="KEY", shell_complete=_complete_engine)


@click.group(
    "engines",
    cls=Subcommands,
    invoke_without_command=True,
    help="""List engines, with what they were built for and when they were last used.

KEY is the beginning of an engine's key. An engine is moved to another machine with export and
import, which checks every file and the key itself.""",
)
@output_options
@click.pass_context
def command(context: click.Context, /, *, output: "Output") -> None:
    """Without a command, list."""
    if context.invoked_subcommand is None:
        _list(context.obj, output)


def _list(settings: "Settings", output: "Output") -> None:
    from nimctl import engine_care
    from nimctl.tools import Tools

    with Tools(settings) as tools:
        report = engine_care.list_engines(tools)
    output.data(report, lambda: _table(report))


def _table(report: "EngineList") -> list[str]:
    from nimctl.cli.render import table
    from nimctl.cli.units import ago, size

    if not report.engines:
        return [f"no engines in {report.home}"]
    rows = [
        (
            one.engine.key[:12],
            one.engine.reference,
            f"{one.engine.recipe.backend} {one.engine.recipe.precision}",
            _parallel(one.engine.recipe.tp, one.engine.recipe.pp),
            one.engine.recipe.gpu or "any CPU",
            one.engine.recipe.builder,
            size(one.size_bytes),
            ago(one.last_used),
            ", ".join(one.servers) or "-",
        )
        for one in report.engines
    ]
    header = ("KEY", "MODEL", "ENGINE", "GPUS", "KIND", "BUILDER", "SIZE", "USED", "SERVERS")
    return table(header, rows)


def _parallel(tp: int, pp: int) -> str:
    return f"tp{tp}" if pp == 1 else f"tp{tp} pp{pp}"


@command.command("rm", help="Remove engines; one that is being served stays.")
@click.argument("keys", metavar="KEY…", nargs=-1, required=True, shell_complete=_complete_engine)
@output_options
@click.pass_obj
def remove(settings: "Settings", /, keys: tuple[str, ...], *, output: "Output") -> None:
    """Remove."""
    from nimctl import engine_care
    from nimctl.tools import Tools

    with Tools(settings) as tools:
        report = engine_care.remove_engines(keys, tools)
    output.data(report, lambda: _removed(report, "freed"))


@command.command(
    "prune",
    help="""Remove the engines that were used least recently until the rest takes at most a size.

Engines that are being served stay. NIMCTL_ENGINES_LIMIT does the same after every build.""",
)
@click.option("--max-size", type=_Size(), required=True, help="What may stay, such as 200GiB.")
@click.option("--dry-run", is_flag=True, help="Only count them.")
@output_options
@click.pass_obj
def prune(settings: "Settings", /, *, max_size: int, dry_run: bool, output: "Output") -> None:
    """Remove, or count."""
    from nimctl import engine_room
    from nimctl.tools import Tools

    with Tools(settings) as tools, output.progress() as progress:
        report = engine_room.prune_engines(max_size, tools, progress, remove=not dry_run)
    output.data(report, lambda: _removed(report, "would free" if dry_run else "freed"))


def _removed(report: "EnginesRemoved", word: str) -> list[str]:
    from nimctl.cli.units import size

    keys = [f"engine {key[:12]}" for key in report.engines]
    return [*keys, f"{len(keys)} engines: {word} {size(report.bytes_freed)}"]


@command.command(
    "export",
    help="""Write an engine to a tar file, or push it to an OCI registry.

TARGET is a path, or oci://HOST/REPOSITORY:TAG. The sidecar that says what the engine depends on
goes with it.""",
)
@_KEY
@click.argument("target", metavar="TARGET")
@output_options
@click.pass_obj
def export(settings: "Settings", /, key: str, target: str, *, output: "Output") -> None:
    """Write, or push."""
    from nimctl import engine_care
    from nimctl.cli.units import size
    from nimctl.tools import Tools

    with Tools(settings) as tools, output.progress() as progress:
        if "://" in target:
            pushed = engine_care.export_oci(key, parse_reference(target), tools, progress)
            output.data(pushed, lambda: [f"{pushed.reference}@{pushed.digest}"])
            return
        report = engine_care.export_tar(key, Path(target), tools, progress)
    output.data(report, lambda: [f"{report.target}: {size(report.size_bytes)}"])


@command.command(
    "import",
    help="""Take in an engine that was built elsewhere.

SOURCE is a file that export wrote, or a reference such as oci://HOST/REPOSITORY:TAG. Every file is
compared with the sidecar, and the key with what it stands for.""",
)
@click.argument("source", metavar="SOURCE")
@output_options
@click.pass_obj
def import_(settings: "Settings", /, source: str, *, output: "Output") -> None:
    """Check and keep."""
    from nimctl import engine_care
    from nimctl.cli.units import size
    from nimctl.tools import Tools

    with Tools(settings) as tools, output.progress() as progress:
        report = engine_care.import_engine(source, tools, progress)
    word = "imported" if report.imported else "already here"
    engine = report.engine
    output.data(report, lambda: [f"engine {engine.key[:12]}: {word}, {size(engine.size)}"])


@command.command("log", help="Print what the build of an engine printed, also one that failed.")
@_KEY
@click.pass_obj
def log(settings: "Settings", /, key: str) -> None:
    """Print it as it is."""
    from nimctl import engine_care
    from nimctl.tools import Tools

    with Tools(settings) as tools:
        path = engine_care.build_log(key, tools)
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            click.echo(line, nl=False)
