"""`nimctl logs`."""

import sys
from typing import TYPE_CHECKING

import click

from nimctl.cli.completion import complete_server
from nimctl.cli.options import output_options

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.settings import Settings


class _Since(click.ParamType[float]):
    name = "time"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        from nimctl.cli.units import moment

        try:
            return moment(str(value))
        except ValueError:
            self.fail(f"`{value}` is no time; use 10m, 2h or 2026-11-25T10:00:00Z", param, ctx)


@click.command("logs", help="Print a server's log, also after it has ended.")
@click.argument("name", metavar="NAME", shell_complete=complete_server)
@click.option("-f", "--follow", is_flag=True, help="Go on until the server ends.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@click.option(
    "--since", type=_Since(), metavar="TIME", help="Only lines since then: 10m, 2h, or RFC 3339."
)
@output_options
@click.pass_obj
def command(
    settings: "Settings",
    name: str,
    *,
    follow: bool,
    tail: int | None,
    since: float | None,
    output: "Output",
) -> None:
    """Print a log; with --json each line is a string."""
    from contextlib import closing

    from nimctl.core.errors import Exit
    from nimctl.tools import Tools

    try:
        with (
            Tools(settings) as tools,
            closing(tools.servers.log(name, follow=follow, tail=tail, since_s=since)) as lines,
        ):
            for line in lines:
                _write(line, output)
    except KeyboardInterrupt:
        if not follow:
            raise
        # It is how one ends it, and there is nothing to go on with.
        raise click.exceptions.Exit(Exit.INTERRUPTED) from None


def _write(line: str, output: "Output") -> None:
    if output.as_json:
        import json

        line = json.dumps(line)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
