"""`nimctl mirror`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nimctl.cli.options import model_argument, output_options, parse_reference

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.core.reports import MirrorForm
    from nimctl.settings import Settings


@click.command(
    "mirror",
    help="""Lay a stored model out as a mirror for machines that reach neither NGC nor the Hub.

A tree is for a web server or a disk (NIMCTL_MIRROR_NGC and NIMCTL_MIRROR_HF name its URL), a bucket
is what NIM's NIM_REPOSITORY_OVERRIDE=s3://BUCKET/ reads: upload its files as they are named. Files
are hard-linked where the directory is on the store's file system.""",
)
@model_argument
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--form",
    type=click.Choice(["tree", "bucket"]),
    default="tree",
    show_default=True,
    help="How the files lie.",
)
@output_options
@click.pass_obj
def command(
    settings: "Settings",
    /,
    model: str,
    directory: Path,
    *,
    form: "MirrorForm",
    output: "Output",
) -> None:
    """Lay out, and say what."""
    from nimctl import mirroring
    from nimctl.cli.units import size
    from nimctl.tools import Tools

    with Tools(settings) as tools, output.progress() as progress:
        report = mirroring.lay_out(
            parse_reference(model), directory.absolute(), form, tools, progress
        )
    output.data(
        report,
        lambda: [f"{report.files} files, {size(report.size_bytes)}, in {report.directory}"],
    )
