"""`nimctl update`."""

from typing import TYPE_CHECKING

import click

from nimctl.cli.completion import complete_server
from nimctl.cli.options import dry_run_option, offline_option, output_options
from nimctl.cli.server_options import environment_option, pull_option, timeout_option

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.settings import Settings


@click.command(
    "update",
    help="""Replace a router's replicas, one after another.

Each is drained first, and the router sends requests to the others meanwhile, so that none fails. A
new replica that does not get ready gives way to the old one, and the update ends there.""",
)
@click.argument("name", metavar="NAME", shell_complete=complete_server)
@click.option("--image", metavar="IMAGE", help="The image of the new replicas.")
@click.option("--profile", metavar="NAME", help="Their profile: its name or id.")
@environment_option("A variable added; without a value, the caller's.")
@pull_option
@click.option(
    "--drain-timeout",
    "drain_s",
    type=click.FloatRange(min=0),
    default=300,
    show_default=True,
    help="Seconds for the requests of a replica.",
)
@timeout_option
@offline_option
@dry_run_option
@output_options
@click.pass_obj
def command(
    settings: "Settings",
    /,
    name: str,
    *,
    environment: tuple[str, ...],
    offline: bool,
    dry_run: bool,
    output: "Output",
    **options: object,
) -> None:
    """Plan, then replace."""
    import msgspec

    from nimctl import api, execute
    from nimctl.cli.dry_run import show
    from nimctl.cli.opening import planned_through
    from nimctl.core.plan import Replace
    from nimctl.core.requests import UpdateRequest, read_variables
    from nimctl.core.server_reports import UpdateReport
    from nimctl.tools import Tools

    fields = {
        "name": name,
        "environment": read_variables(environment, settings.variables),
        "offline": offline,
        **options,
    }
    update = msgspec.convert(fields, UpdateRequest)
    with Tools(settings, offline=offline) as tools:
        plan = api.plan_update(update, tools)
        if dry_run:
            show(plan, tools, output)
            return
        plan = planned_through(plan, lambda: api.plan_update(update, tools), tools, output)
        for note in plan.notes:
            output.note(note)
        with output.progress() as progress:
            execute.run(plan, tools, progress)
        report = UpdateReport(
            server=tools.servers.find(name),
            replaced=tuple(
                step.launch.server.name for step in plan.steps if isinstance(step, Replace)
            ),
            notes=plan.notes,
        )
    output.data(report, lambda: report.replaced)
