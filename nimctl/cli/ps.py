"""`nimctl ps`."""

from typing import TYPE_CHECKING

import click

from nimctl.cli.options import output_options

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.settings import Settings


@click.command("ps", help="List servers that run; --all lists those that have ended too.")
@click.option("-a", "--all", "all_", is_flag=True, help="Also servers that have ended.")
@output_options
@click.pass_obj
def command(settings: "Settings", *, all_: bool, output: "Output") -> None:
    """List servers."""
    from nimctl.cli.render import table
    from nimctl.cli.units import duration
    from nimctl.core.reports import Servers
    from nimctl.tools import Tools

    with Tools(settings) as tools:
        servers = [one for one in tools.servers.all() if all_ or one.state != "exited"]
    header = ("NAME", "MODEL", "BACKEND", "PROFILE", "ENDPOINT", "STATE", "UPTIME")
    output.data(
        Servers(servers=tuple(servers)),
        lambda: table(
            header,
            [
                (
                    one.name,
                    one.model,
                    one.backend,
                    one.profile,
                    f"{one.url}/v1",
                    one.state,
                    "-" if one.uptime_s is None else duration(one.uptime_s),
                )
                for one in servers
            ],
        ),
    )
