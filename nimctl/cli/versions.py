"""`nimctl versions`."""

from typing import TYPE_CHECKING

import click

from nimctl.cli.options import output_options, parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nimctl.cli.render import Output
    from nimctl.core.reports import VersionList
    from nimctl.settings import Settings


@click.command(
    "versions",
    help="""List the versions of a model on NGC, the newest first.

REFERENCE is ngc://ORG[/TEAM]/MODEL[:GLOB]. FITS says whether this machine has the GPUs that a
version was built for; a dash, that it names none. A name too long for the screen has a line of its
own.""",
)
@click.argument("reference", metavar="REFERENCE")
@output_options
@click.pass_obj
def command(settings: "Settings", /, reference: str, *, output: "Output") -> None:
    """Ask the registry, compare with the host, print."""
    import msgspec

    from nimctl.core.errors import NotFoundError
    from nimctl.core.gpus import suits
    from nimctl.core.reports import ListedVersion, VersionList
    from nimctl.tools import Tools

    ref = parse_reference(reference)
    if ref.scheme != "ngc":
        raise click.UsageError(f"{ref} is not on NGC; name ngc://ORG[/TEAM]/MODEL")
    with Tools(settings) as tools:
        host = tools.host()
        versions = tuple(
            ListedVersion(version=one, fits=suits(one, host))
            for one in tools.registries.ngc().versions(ref)
        )
    if not versions:
        whole = msgspec.structs.replace(ref, revision=None)
        what = f"matches {ref.revision}" if ref.revision else "can be listed"
        raise NotFoundError(f"no version of {whole} {what}", hint=f"nimctl versions {whole}")
    report = VersionList(reference=str(ref), versions=versions)
    output.data(report, lambda: _lines(report))


def _lines(report: "VersionList") -> "Iterator[str]":
    from nimctl.cli.render import screen_columns, table
    from nimctl.cli.units import size

    fits = {True: "yes", False: "no", None: "-"}
    names = [one.version.version for one in report.versions]
    rows = [
        (
            f"{one.version.gpu_count or 1}x {one.version.gpu}" if one.version.gpu else "-",
            one.version.precision or "-",
            size(one.version.size_bytes),
            f"{one.version.created:%Y-%m-%d}" if one.version.created else "-",
            fits[one.fits],
        )
        for one in report.versions
    ]
    details = table(("GPU", "PREC", "SIZE", "CREATED", "FITS"), rows)
    room = screen_columns() - max(map(len, details)) - len("  ")
    width = max(len(name) for name in ("VERSION", *names) if len(name) <= room or name == "VERSION")
    for name, line in zip(("VERSION", *names), details, strict=True):
        if len(name) > width:
            yield name
        yield f"{name if len(name) <= width else '':{width}}  {line}"
