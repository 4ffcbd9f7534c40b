"""`nimctl list`."""

from typing import TYPE_CHECKING

import click

from nimctl.cli.options import output_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nimctl.cli.render import Output
    from nimctl.core.reports import StoredModels
    from nimctl.settings import Settings


@click.command("list", help="List the models in the store, with their engines and sizes.")
@output_options
@click.pass_obj
def command(settings: "Settings", *, output: "Output") -> None:
    """List models."""
    from nimctl import stored
    from nimctl.tools import Tools

    with Tools(settings) as tools:
        report = stored.list_models(tools)
    output.data(report, lambda: _lines(report))
    if not report.models:
        output.note("the store is empty; try: nimctl pull capitals-demo")


def _shown(name: str) -> str:
    """A model's name; of a reference that names its files one by one, how many."""
    from nimctl.core.refs import ModelRef

    files = ModelRef.parse(name).files
    if len(files) <= 1:
        return name
    return f"{name.partition('?')[0]} ({len(files)} of its files)"


def _lines(report: "StoredModels") -> "Iterator[str]":
    from nimctl.cli.render import table
    from nimctl.cli.units import ago, size

    rows = [
        (
            _shown(model.model),
            ", ".join(sorted(engine.recipe.precision for engine in model.engines)) or "-",
            size(model.size_bytes),
            ago(max(source.pulled for source in model.sources)),
        )
        for model in report.models
    ]
    yield from table(("MODEL", "ENGINES", "SIZE", "PULLED"), rows)
