"""`nimctl verify`."""

from typing import TYPE_CHECKING

import click

from nimctl.cli.completion import complete_model
from nimctl.cli.options import output_options, parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nimctl.cli.render import Output
    from nimctl.core.reports import VerifyReport
    from nimctl.settings import Settings


@click.command(
    "verify",
    help="""Read stored files again and compare them with their digests.

Without MODEL, all models. --repair fetches what is damaged again, and only that: of a file that
came in ranges the damaged ranges. A damaged engine is removed and built when it is needed.""",
)
@click.argument("models", metavar="[MODEL…]", nargs=-1, shell_complete=complete_model)
@click.option("--repair", is_flag=True, help="Fetch damaged files again.")
@output_options
@click.pass_obj
def command(
    settings: "Settings", /, models: tuple[str, ...], *, repair: bool, output: "Output"
) -> None:
    """Check, repair if asked, and fail if damage stays."""
    import msgspec

    from nimctl import upkeep
    from nimctl.core.errors import VerificationError
    from nimctl.tools import Tools

    with Tools(settings) as tools, output.progress() as progress:
        report = upkeep.verify([parse_reference(model) for model in models], tools, progress)
        if repair and report.damaged:
            upkeep.repair(report, tools, progress)
            report = msgspec.structs.replace(report, repaired=True)
    output.data(report, lambda: _lines(report))
    if report.damaged and not report.repaired:
        raise VerificationError(
            f"{len(report.damaged)} of {report.files_checked} files are damaged or missing",
            hint="nimctl verify --repair",
        )


def _lines(report: "VerifyReport") -> "Iterator[str]":
    from nimctl.cli.units import size

    for one in report.damaged:
        where = f"engine {one.engine[:12]} of {one.reference}" if one.engine else one.reference
        repaired = ", repaired" if report.repaired else ""
        yield f"{one.state}: {one.path} ({where}){repaired}"
        for part in one.ranges:
            yield f"  bytes {part.start:,} to {part.end:,}"
    yield f"{report.files_checked} files, {size(report.bytes_checked)} read"
