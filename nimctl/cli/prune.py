"""`nimctl prune`."""

from typing import TYPE_CHECKING

import click

from nimctl.cli.options import output_options

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.settings import Settings


@click.command(
    "prune",
    help="""Remove files that no stored model needs.

Unfinished downloads stay, with the files that they have, so that they can go on, unless
--unfinished is given; those that are under way stay in any case. So does what servers compiled for
their next start, unless --kernels is given.""",
)
@click.option("--unfinished", is_flag=True, help="Also the parts of unfinished downloads.")
@click.option("--kernels", is_flag=True, help="Also what servers compiled that are gone.")
@click.option("--dry-run", is_flag=True, help="Only count them.")
@output_options
@click.pass_obj
def command(
    settings: "Settings", /, *, unfinished: bool, kernels: bool, dry_run: bool, output: "Output"
) -> None:
    """Remove, or count."""
    from nimctl import upkeep
    from nimctl.cli.units import size
    from nimctl.tools import Tools

    with Tools(settings) as tools:
        report = upkeep.prune(tools, unfinished=unfinished, kernels=kernels, remove=not dry_run)
    word = "would free" if dry_run else "freed"
    files, parts = len(report.blobs), len(report.unfinished)
    found = f"{files} files, {parts} unfinished downloads"
    if kernels:
        found += f", kernels of {len(report.kernels)} servers"
    output.data(report, lambda: [f"{found}: {word} {size(report.bytes_freed)}"])
