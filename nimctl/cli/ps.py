"""`nimctl ps`."""

import sys
from typing import TYPE_CHECKING

import click

from nimctl.cli.options import output_options

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.core.server_reports import ServerReport
    from nimctl.settings import Settings

_SHOWN = len("GPU-12345678")


@click.command("ps", help="List servers that run; --all lists those that have ended too.")
@click.option("-a", "--all", "all_", is_flag=True, help="Also servers that have ended.")
@output_options
@click.pass_obj
def command(settings: "Settings", *, all_: bool, output: "Output") -> None:
    """List servers."""
    from nimctl.cli.render import fitted, screen_columns
    from nimctl.core.server_reports import Servers
    from nimctl.tools import Tools

    with Tools(settings) as tools:
        servers = [one for one in tools.servers.all() if all_ or one.state != "exited"]
        if trouble := tools.servers.trouble:
            output.note(f"servers in containers are not listed: {trouble.message}: {trouble.cause}")
    # Replicas stand below their router.
    servers.sort(key=lambda one: (one.group or one.name, one.group is not None, one.name))
    # A script reads all columns; on a narrow screen `inspect` has what is left out.
    columns = screen_columns() if sys.stdout.isatty() else sys.maxsize
    report = Servers(servers=tuple(servers))
    output.data(report, lambda: fitted(_HEADER, map(_row, servers), _SPARE, columns))


_HEADER = (
    *("NAME", "MODEL", "BACKEND", "PROFILE", "ENDPOINT", "STATE"),
    *("GPU", "MEMORY", "REQUESTS", "UPTIME"),
)


_SPARE = ("PROFILE", "REQUESTS", "BACKEND", "MEMORY", "GPU")


def _row(one: "ServerReport") -> tuple[str, ...]:
    from nimctl.cli.units import duration, size

    return (
        f"  {one.name}" if one.group else one.name,
        one.model,
        one.backend,
        one.profile,
        f"{one.url}/v1",
        one.state,
        ",".join(map(_short, one.gpus)) or "none",
        "-" if one.memory_bytes is None else size(one.memory_bytes),
        _requests(one),
        "-" if one.uptime_s is None else duration(one.uptime_s),
    )


def _short(gpu: str) -> str:
    """The kind and the first digits of a UUID, as far as people compare it."""
    return gpu[:_SHOWN]


def _requests(one: "ServerReport") -> str:
    if one.requests_running is None:
        return "-"
    waiting = f", {one.requests_waiting} waiting" if one.requests_waiting else ""
    return f"{one.requests_running}{waiting}"
