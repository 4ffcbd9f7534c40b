"""What has to be done before the rest can be planned: unpacking an archive."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.core.plan import Plan
    from nimctl.tools import Tools


def planned_through(
    plan: "Plan", plan_again: "Callable[[], Plan]", tools: "Tools", output: "Output"
) -> "Plan":
    """The plan that has an end: what a first one brings is fetched, and tells what follows."""
    while plan.again:
        carry_out(plan, tools, output)
        plan = plan_again()
    return plan


def carry_out(plan: "Plan", tools: "Tools", output: "Output") -> None:
    """Run a plan, and say why."""
    from nimctl import execute

    for note in plan.notes:
        output.note(note)
    with output.progress() as progress:
        execute.run(plan, tools, progress)
