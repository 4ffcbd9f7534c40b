"""`nimctl inspect`."""

from typing import TYPE_CHECKING

import click

from nimctl.cli.completion import complete_inspected
from nimctl.cli.options import output_options, parse_reference

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.core.reports import ModelReport
    from nimctl.core.server_reports import InspectedServer
    from nimctl.settings import Settings
    from nimctl.tools import Tools


@click.command(
    "inspect",
    help="""Show all that is known of a server or a stored model, as JSON.

A name that is both means the server, unless --type says model.""",
)
@click.argument("name", metavar="NAME|MODEL", shell_complete=complete_inspected)
@click.option("--type", "kind", type=click.Choice(["server", "model"]), help="What NAME is.")
@output_options
@click.pass_obj
def command(settings: "Settings", name: str, *, kind: str | None, output: "Output") -> None:
    """Look among the servers first, as `docker inspect` does."""
    from nimctl.cli.render import as_json
    from nimctl.tools import Tools

    with Tools(settings) as tools:
        report = _report(name, kind, tools)
    output.data(report, lambda: as_json(report).splitlines())


def _report(name: str, kind: str | None, tools: "Tools") -> "InspectedServer | ModelReport":
    import shlex

    from nimctl import stored
    from nimctl.core.errors import NotFoundError
    from nimctl.core.server_reports import InspectedServer

    if kind != "model":
        try:
            server = tools.servers.find(name)
            return InspectedServer(server=server, run_line=shlex.join(server.argv))
        except NotFoundError:
            if kind == "server":
                raise
    return stored.inspect_model(parse_reference(name), tools)
