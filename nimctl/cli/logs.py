"""`nimctl logs`."""

import sys
import time
from collections import deque
from typing import TYPE_CHECKING

import click

from nimctl.cli.options import complete_server, output_options

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.settings import Settings

_POLL_S = 0.2


@click.command("logs", help="Print a server's log, also after it has ended.")
@click.argument("name", metavar="NAME", shell_complete=complete_server)
@click.option("-f", "--follow", is_flag=True, help="Go on until the server ends.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@output_options
@click.pass_obj
def command(
    settings: "Settings", name: str, *, follow: bool, tail: int | None, output: "Output"
) -> None:
    """Print a log; with --json each line is a string."""
    from nimctl.tools import Tools

    with (
        Tools(settings) as tools,
        tools.servers.log(name).open(encoding="utf-8", errors="replace") as log,
    ):
        for line in log if tail is None else deque(log, maxlen=tail):
            _write(line, output)
        while follow:
            ended = not tools.servers.is_running(name)
            for line in log:
                _write(line, output)
            if ended:
                break
            time.sleep(_POLL_S)


def _write(line: str, output: "Output") -> None:
    if output.as_json:
        import json

        line = json.dumps(line.rstrip("\n")) + "\n"
    sys.stdout.write(line)
    sys.stdout.flush()
