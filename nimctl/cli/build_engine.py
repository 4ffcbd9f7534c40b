"""`nimctl build-engine`."""

from typing import TYPE_CHECKING

import click

from nimctl.cli.options import (
    dry_run_option,
    machine_options,
    model_argument,
    offline_option,
    only_planned,
    output_options,
    parse_reference,
    wish_options,
)

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.core.machine import Host
    from nimctl.core.profile import Wish
    from nimctl.settings import Settings


@click.command(
    "build-engine",
    help="""Build a model's engine for this machine, or find it built.

For the backend llama_cpp that is a GGUF file, converted from the model's safetensors. An engine is
kept under a key of all that it depends on, and built once.""",
)
@model_argument
@wish_options
@machine_options()
@offline_option
@dry_run_option
@output_options
@click.pass_obj
def command(
    settings: "Settings",
    model: str,
    *,
    wish: "Wish",
    machine: "Host | None",
    offline: bool,
    dry_run: bool,
    output: "Output",
) -> None:
    """Argv to request, request to plan, plan to outcome, outcome to words."""
    from nimctl import api, execute
    from nimctl.cli.dry_run import show
    from nimctl.cli.opening import planned_through
    from nimctl.cli.units import size
    from nimctl.core.reports import BuildReport
    from nimctl.core.requests import BuildRequest
    from nimctl.tools import Tools

    only_planned(machine, dry_run=dry_run)
    request = BuildRequest(ref=parse_reference(model), wish=wish)
    with Tools(settings, offline=offline, machine=machine) as tools:
        plan = api.plan_build(request, tools)
        if dry_run:
            show(plan, tools, output)
            return
        plan = planned_through(plan, lambda: api.plan_build(request, tools), tools, output)
        with output.progress() as progress:
            outcome = execute.run(plan, tools, progress)
        engine = outcome.engine
        assert engine is not None  # noqa: S101 - a build plan ends with an engine
        report = BuildReport(
            model=model,
            profile=engine.recipe.precision,
            built=outcome.built,
            directory=str(tools.layout.engine(engine.key)),
            engine=engine,
        )
    total = size(sum(file.size for file in engine.files))
    word = "built" if report.built else "already built"
    output.data(report, lambda: [f"engine {engine.key[:12]}: {word}, {total}, {report.directory}"])
