"""`nimctl pull`."""

from typing import TYPE_CHECKING

import click

from nimctl.cli.options import (
    dry_run_option,
    model_argument,
    offline_option,
    output_options,
    parse_reference,
    wish_options,
)

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.core.profile import Wish
    from nimctl.core.reports import Outcome, PullReport
    from nimctl.settings import Settings
    from nimctl.tools import Tools


@click.command(
    "pull",
    help="""Download a model, verify every byte and keep it in the store.

MODEL is a catalogue name (nimctl list-profiles shows them), hf://ORG/REPO[@REVISION][?include=GLOB],
https://…[#sha256=HEX], or file:///PATH. An interrupted download goes on where it stopped.""",
)
@model_argument
@wish_options
@offline_option
@dry_run_option
@output_options
@click.pass_obj
def command(
    settings: "Settings",
    model: str,
    *,
    wish: "Wish",
    offline: bool,
    dry_run: bool,
    output: "Output",
) -> None:
    """Argv to request, request to plan, plan to outcome, outcome to words."""
    from nimctl import api, execute
    from nimctl.cli.dry_run import show
    from nimctl.cli.render import size
    from nimctl.core.requests import PullRequest
    from nimctl.tools import Tools

    ref = parse_reference(model)
    with Tools(settings, offline=offline) as tools:
        plan = api.plan_pull(PullRequest(ref=ref, wish=wish), tools)
        if dry_run:
            show(plan, tools, output)
            return
        with output.progress() as progress:
            outcome = execute.run(plan, tools, progress)
        report = _report(model, outcome, tools)
    output.data(
        report,
        lambda: [
            f"{report.reference}: {len(report.files)} verified",
            f"{size(report.bytes_fetched)} fetched, {size(report.bytes_reused)} were there",
        ],
    )


def _report(model: str, outcome: "Outcome", tools: "Tools") -> "PullReport":
    from nimctl.core.reports import PulledFile, PullReport

    artifact = outcome.artifact
    assert artifact is not None  # noqa: S101 - a pull plan is one Fetch, which sets it
    files = tuple(
        PulledFile(
            name=one.path,
            path=str(tools.layout.blob(one.sha256)),
            size=one.size,
            sha256=one.sha256,
            bytes_fetched=one.bytes_fetched,
            bytes_reused=one.bytes_reused,
        )
        for one in outcome.fetched
    )
    return PullReport(
        model=model,
        reference=artifact.reference,
        revision=artifact.revision,
        files=files,
        bytes_fetched=sum(one.bytes_fetched for one in files),
        bytes_reused=sum(one.bytes_reused for one in files),
    )
