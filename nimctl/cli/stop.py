"""`nimctl stop`."""

from typing import TYPE_CHECKING

import click

from nimctl.cli.completion import complete_server
from nimctl.cli.options import output_options
from nimctl.cli.server_options import grace_option

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.settings import Settings


@click.command(
    "stop",
    help="""Stop servers. Requests in flight are finished first.

A router takes its replicas with it; a replica alone gets no more requests before it is stopped.""",
)
@click.argument("names", metavar="NAME…", nargs=-1, shell_complete=complete_server)
@click.option("--all", "all_", is_flag=True, help="Stop all servers.")
@grace_option
@output_options
@click.pass_obj
def command(
    settings: "Settings", names: tuple[str, ...], *, all_: bool, grace_s: float, output: "Output"
) -> None:
    """Stop each, and say which had to be killed."""
    from nimctl.core.errors import UsageError
    from nimctl.core.server_reports import Stopped
    from nimctl.tools import Tools

    if bool(names) == all_:
        raise UsageError("name the servers to stop, or give --all", hint="nimctl ps lists them")
    with Tools(settings) as tools:
        named = list(tools.servers.running()) if all_ else list(names)
        unlisted = tools.servers.trouble
        for name in named:
            # An unknown name is refused before the first one is stopped.
            tools.servers.is_running(name)
        chosen = tools.groups.outermost(named)
        killed = [name for name in chosen if not tools.groups.stop(name, grace_s)]
    if all_ and unlisted:
        output.note(f"servers in containers could not be asked: {unlisted.message}")
    for name in killed:
        output.note(f"{name} did not end within {grace_s:g} s and was killed")
    report = Stopped(
        stopped=tuple(name for name in chosen if name not in killed), killed=tuple(killed)
    )
    output.data(report, lambda: chosen)
