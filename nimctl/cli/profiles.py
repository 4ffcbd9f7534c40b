"""`nimctl profiles`: model files of one's own."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nimctl.cli.guesses import Subcommands
from nimctl.cli.options import output_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nimctl.cli.render import Output
    from nimctl.core.reports import CheckedFile, ValidationReport
    from nimctl.settings import Settings


@click.group(
    "profiles",
    cls=Subcommands,
    help="""Check model files of your own; tell where they lie.

A model is one YAML file. Those in your directory (`nimctl profiles path`) come beside the shipped
ones, or in place of one that has the same name.""",
)
def command() -> None:
    """Hold the commands."""


@command.command(
    "validate",
    help="""Check model files and list all that is wrong with them.

Without PATH, your own and the shipped ones. A directory stands for the .yaml files in it. Exit
code 6 tells that there are flaws.""",
)
@click.argument("paths", metavar="[PATH…]", nargs=-1, type=click.Path(exists=True, path_type=Path))
@output_options
@click.pass_obj
def validate(settings: "Settings", /, paths: tuple[Path, ...], *, output: "Output") -> None:
    """Check each file, and fail if one has flaws."""
    from nimctl import catalog
    from nimctl.core.errors import VerificationError
    from nimctl.core.reports import ValidationReport

    places = paths or (Path(settings.profiles_directory), catalog.packaged_directory())
    report = ValidationReport(files=tuple(catalog.check(path) for path in catalog.files_in(places)))
    output.data(report, lambda: _lines(report))
    broken = [file for file in report.files if file.flaws]
    if broken:
        count = sum(len(file.flaws) for file in broken)
        raise VerificationError(
            f"{_counted(count, 'flaw')} in {_counted(len(broken), 'file')}",
            hint="nimctl profiles schema prints what a file may say",
        )


@command.command("path", help="Print the directories that model files are read from.")
@output_options
@click.pass_obj
def path(settings: "Settings", /, *, output: "Output") -> None:
    """Print them, the user's first."""
    from nimctl.catalog import packaged_directory
    from nimctl.core.reports import CatalogueDirectories

    report = CatalogueDirectories(
        user=settings.profiles_directory, shipped=str(packaged_directory())
    )
    output.data(report, lambda: (report.user, report.shipped))


@command.command("schema", help="Print the JSON Schema of a model file.")
def schema() -> None:
    """Print it; editors check YAML against it."""
    import msgspec

    from nimctl.cli.render import as_json
    from nimctl.core.catalogue import Model

    click.echo(as_json(msgspec.json.schema(Model)), nl=False)


def _lines(report: "ValidationReport") -> "Iterator[str]":
    for file in report.files:
        yield from _lines_of(file)
    sound = sum(not file.flaws for file in report.files)
    yield f"{_counted(len(report.files), 'file')}, {sound} of them sound"


def _lines_of(file: "CheckedFile") -> "Iterator[str]":
    for flaw in file.flaws:
        line = f":{flaw.line}" if flaw.line else ""
        place = f" {flaw.place}:" if flaw.place else ""
        yield f"{file.file}{line}:{place} {flaw.message}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
