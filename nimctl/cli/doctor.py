"""`nimctl doctor`."""

from typing import TYPE_CHECKING

import click

from nimctl.cli.options import output_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nimctl.cli.render import Output
    from nimctl.core.doctor import Check, DoctorReport
    from nimctl.settings import Settings

_WIDTH = 80
_STATE_WIDTH = 9


@click.command(
    "doctor",
    help="""Look at this machine; say what is wrong, and the command that fixes it.

GPUs, driver, memory, disk, container engine, embedded engine, registries' keys and proxies. What
--json prints describes the machine: `list-profiles --host FILE` takes it on any other one. Ends
with 7 when no backend can serve.""",
)
@output_options
@click.pass_obj
def command(settings: "Settings", *, output: "Output") -> None:
    """Observe, examine, print."""
    from nimctl import __version__, checkup
    from nimctl.core.doctor import examine
    from nimctl.core.errors import HardwareError
    from nimctl.tools import Tools

    with Tools(settings) as tools:
        report = examine(checkup.look(tools), __version__)
    output.data(report, lambda: _lines(report))
    if not any(backend.usable for backend in report.backends):
        causes = dict.fromkeys(cause for one in report.backends for cause in one.stopped_by)
        raise HardwareError(
            "no backend can serve on this machine",
            cause="; ".join(causes),
            hint="the lines above say what fixes it",
        )


def _lines(report: "DoctorReport") -> "Iterator[str]":
    groups = dict.fromkeys(check.group for check in report.checks)
    for group in groups:
        yield group[0].upper() + group[1:]
        for check in report.checks:
            if check.group == group:
                yield from _check(check)
    usable = [backend.name for backend in report.backends if backend.usable]
    stopped = [backend.name for backend in report.backends if not backend.usable]
    yield ""
    yield from _wrapped("Can serve here: ", ", ".join(usable) or "nothing")
    if stopped:
        yield from _wrapped("Cannot: ", ", ".join(stopped))


def _check(check: "Check") -> "Iterator[str]":
    yield from _wrapped(f"  {check.state.value.ljust(_STATE_WIDTH)}", check.message)
    if check.fix:
        yield from _wrapped(" " * (_STATE_WIDTH + 2) + "fix: ", check.fix)


def _wrapped(begin: str, text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(
        text,
        width=_WIDTH,
        initial_indent=begin,
        subsequent_indent=" " * len(begin),
        break_long_words=False,
        break_on_hyphens=False,
    )
