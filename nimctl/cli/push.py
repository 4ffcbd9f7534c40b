"""`nimctl push`."""

from typing import TYPE_CHECKING

import click

from nimctl.cli.options import model_argument, output_options, parse_reference

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.settings import Settings


@click.command(
    "push",
    help="""Push a stored model to an OCI registry, as a CNCF ModelPack artifact.

TARGET is oci://HOST/REPOSITORY:TAG. With --engine, the built engine of that precision, or whose key
begins so, is pushed instead of the model's files. Logins of docker and podman are used, and those
of nimctl login.""",
)
@model_argument
@click.argument("target", metavar="TARGET")
@click.option("--engine", metavar="PRECISION|KEY", help="Push the built engine, such as q8_0.")
@output_options
@click.pass_obj
def command(
    settings: "Settings", /, model: str, target: str, *, engine: str | None, output: "Output"
) -> None:
    """Push, and print the digest."""
    from nimctl import publish
    from nimctl.tools import Tools

    ref, place = parse_reference(model), parse_reference(target)
    with Tools(settings) as tools, output.progress() as progress:
        if engine:
            report = publish.push_engine(ref, engine, place, tools, progress)
        else:
            report = publish.push_model(ref, place, tools, progress)
    output.data(report, lambda: [f"{report.reference}@{report.digest}"])
