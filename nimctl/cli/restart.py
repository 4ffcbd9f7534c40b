"""`nimctl restart`."""

from typing import TYPE_CHECKING

import click

from nimctl.cli.completion import complete_server
from nimctl.cli.options import output_options
from nimctl.cli.server_options import grace_option, timeout_option

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.core.servers import Server
    from nimctl.settings import Settings

# A server that ran before has its files here; what moves on may take five times as long.
_TIMEOUT_S = 600.0
_LIMIT_S = 3000.0


@click.command("restart", help="Stop a server and start it again as it was, then wait for it.")
@click.argument("name", metavar="NAME", shell_complete=complete_server)
@grace_option
@timeout_option
@click.option("--no-wait", is_flag=True, help="Return when it is started.")
@output_options
@click.pass_obj
def command(
    settings: "Settings",
    name: str,
    *,
    grace_s: float,
    timeout_s: float | None,
    no_wait: bool,
    output: "Output",
) -> None:
    """Restart and wait."""
    from nimctl.core.events import Finished, Started
    from nimctl.core.plan import Await
    from nimctl.core.server_reports import RestartReport
    from nimctl.tools import Tools

    with Tools(settings) as tools, output.progress() as progress:

        def wait_ready(server: "Server") -> None:
            step = Await(
                server=server,
                timeout_s=timeout_s or _TIMEOUT_S,
                limit_s=None if timeout_s else _LIMIT_S,
            )
            progress(Started(task="ready", title=f"loading {server.name}"))
            tools.servers.wait_ready(step, progress)
            progress(Finished(task="ready"))

        if no_wait:
            tools.servers.restart(name, grace_s)
        else:
            tools.groups.restart(name, grace_s, wait_ready)
        tools.let_go()
        report = tools.servers.find(name)
    output.data(RestartReport(server=report), lambda: [f"{report.url}/v1"])
