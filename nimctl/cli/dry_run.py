"""What `--dry-run` prints: nothing below `cli` knows that a dry run exists."""

from typing import TYPE_CHECKING

from nimctl.cli.shell import script

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.core.plan import Plan
    from nimctl.tools import Tools


def show(plan: "Plan", tools: "Tools", output: "Output") -> None:
    """Print a plan: as a shell script, or as it is with `--json`."""
    output.data(plan, lambda: script(plan, tools.python, tools.layout))
