"""`nimctl rm`."""

from typing import TYPE_CHECKING

import click

from nimctl.cli.completion import complete_removed
from nimctl.cli.options import output_options, parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nimctl.cli.render import Output
    from nimctl.core.reports import Removed
    from nimctl.settings import Settings
    from nimctl.tools import Tools


@click.command(
    "rm",
    help="""Remove a model from the store, with its engines and stopped servers.

Files that other models share stay. With --server, NAME is a stopped server, and only its state and
log are removed.""",
)
@click.argument("name", metavar="MODEL|NAME", shell_complete=complete_removed)
@click.option("--server", is_flag=True, help="NAME is a stopped server; keep the model.")
@output_options
@click.pass_obj
def command(settings: "Settings", name: str, *, server: bool, output: "Output") -> None:
    """Remove a model; or a server, if the name is a server's only."""
    from nimctl.tools import Tools

    with Tools(settings) as tools:
        report = _remove_server(name, tools) if server else _remove(name, tools)
    output.data(report, lambda: _lines(report))


def _remove(name: str, tools: "Tools") -> "Removed":
    from nimctl import stored
    from nimctl.core.errors import NotFoundError

    try:
        return stored.remove_model(parse_reference(name), tools)
    except NotFoundError:
        if name not in tools.servers.names():
            raise
    return _remove_server(name, tools)


def _remove_server(name: str, tools: "Tools") -> "Removed":
    from nimctl.core.reports import Removed

    members = tools.groups.members(name)
    tools.groups.remove(name)
    return Removed(model=None, servers=(name, *members), engines=(), bytes_freed=0)


def _lines(report: "Removed") -> "Iterator[str]":
    from nimctl.cli.units import size

    if report.model:
        yield f"removed model {report.model}, {size(report.bytes_freed)} freed"
    for key in report.engines:
        yield f"removed engine {key[:12]}"
    for name in report.servers:
        yield f"removed server {name}"
