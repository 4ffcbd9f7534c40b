"""`nimctl serve`."""

from contextlib import contextmanager
from pathlib import Path
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
    from collections.abc import Iterator

    from nimctl.cli.render import Output
    from nimctl.cli.timings import Stopwatch
    from nimctl.core.machine import Host
    from nimctl.core.plan import Plan
    from nimctl.core.profile import Wish
    from nimctl.core.reports import ServerReport
    from nimctl.core.requests import ServeRequest
    from nimctl.settings import Settings
    from nimctl.tools import Tools


class _Port(click.ParamType[int]):
    name = "port"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if str(value) == "auto":
            return 0
        if not str(value).isdigit() or not 0 < int(value) <= 65535:  # noqa: PLR2004 - RFC 793
            self.fail(f"`{value}` is no port; use 1 to 65535, or auto", param, ctx)
        return int(value)


_EXISTING = click.Path(exists=True, dir_okay=False, readable=True, resolve_path=True)


@click.command(
    "serve",
    help="""Serve a model with an OpenAI-compatible API.

What is missing is pulled and built first. MODEL is what `nimctl pull` takes. Arguments after --
go to the engine as they are.""",
)
@model_argument
@click.option(
    "-p", "--port", type=_Port(), default="8000", show_default=True, help="Port, or auto."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("-d", "--detach", is_flag=True, help="Return when the server is ready.")
@click.option("-n", "--name", metavar="NAME", help="The server's name; default: the model's.")
@click.option("--max-model-len", type=click.IntRange(min=1), help="Tokens of one sequence.")
@click.option("--max-num-seqs", type=click.IntRange(min=1), help="Sequences at once (slots).")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads that decode.")
@click.option("--chat-template", type=_EXISTING, help="Jinja file that replaces the model's own.")
@click.option("--embeddings", is_flag=True, help="Serve /v1/embeddings as well.")
@click.option("--lora", "lora", multiple=True, type=_EXISTING, help="LoRA adapter, a GGUF file.")
@click.option("--api-key-file", type=_EXISTING, help="File with the keys that clients may use.")
@click.option("--no-auth", is_flag=True, help="No key, also when reachable from other machines.")
@click.option("--require-gpu", is_flag=True, help="Fail rather than serve on the CPU.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0.1), help="Seconds to be ready.")
@click.option("--timings", is_flag=True, help="Print where the time until ready went.")
@wish_options
@machine_options("--host-file")
@offline_option
@dry_run_option
@output_options
@click.argument("engine_arguments", nargs=-1, metavar="[-- ENGINE ARGUMENTS]")
@click.pass_obj
def command(
    settings: "Settings",
    /,
    model: str,
    *,
    wish: "Wish",
    machine: "Host | None",
    no_auth: bool,
    timings: bool,
    offline: bool,
    dry_run: bool,
    output: "Output",
    **options: object,
) -> None:
    """Argv to request, request to plan, plan to a ready server; then wait or return."""
    import msgspec

    from nimctl import api
    from nimctl.cli.dry_run import show
    from nimctl.cli.opening import planned_through
    from nimctl.core.requests import ServeRequest
    from nimctl.tools import Tools

    only_planned(machine, dry_run=dry_run)
    fields = {"ref": parse_reference(model), "wish": wish, "auth": not no_auth, **options}
    request = msgspec.convert(fields, ServeRequest)
    with Tools(settings, offline=offline, machine=machine) as tools:
        plan = api.plan_serve(request, tools)
        if dry_run:
            show(plan, tools, output)
            return
        plan = planned_through(plan, lambda: api.plan_serve(request, tools), tools, output)
        _serve(plan, request, tools, output, timings=timings)


def _serve(
    plan: "Plan", request: "ServeRequest", tools: "Tools", output: "Output", *, timings: bool
) -> None:
    from nimctl import execute
    from nimctl.cli.timings import Stopwatch
    from nimctl.core.plan import Launch

    for note in plan.notes:
        output.note(note)
    with output.progress() as progress:
        stopwatch = Stopwatch(progress)
        execute.run(plan, tools, stopwatch)
    name = next(step.server.name for step in plan.steps if isinstance(step, Launch))
    if request.detach:
        _report(name, plan, stopwatch, tools, output, timings=timings)
        output.note(f"stop it with: nimctl stop {name}")
        return
    with _stopped_by_signals(name, tools, output):
        _report(name, plan, stopwatch, tools, output, timings=timings)
        output.note("Ctrl-C stops it")
        tools.servers.wait(name)


def _report(
    name: str,
    plan: "Plan",
    stopwatch: "Stopwatch",
    tools: "Tools",
    output: "Output",
    *,
    timings: bool,
) -> None:
    from nimctl.core.reports import ServeReport

    server = tools.servers.find(name)
    output.note(f"{name} is ready after {stopwatch.total_s:.2f} s")
    if timings:
        for line in stopwatch.lines():
            output.note(line)
    output.data(ServeReport(server=server, notes=plan.notes), lambda: _endpoint(server))


@contextmanager
def _stopped_by_signals(name: str, tools: "Tools", output: "Output") -> "Iterator[None]":
    from nimctl.core.errors import Exit, Terminated

    try:
        yield
    except (KeyboardInterrupt, Terminated) as asked:
        output.note(f"stopping {name}; requests in flight are finished, Ctrl-C again kills it")
        try:
            tools.servers.stop(name)
        except KeyboardInterrupt:
            tools.servers.stop(name, grace_s=0)
        # What was asked for has happened, so that this is no error to explain.
        ended = Exit.TERMINATED if isinstance(asked, Terminated) else Exit.INTERRUPTED
        raise click.exceptions.Exit(ended) from None


def _endpoint(server: "ServerReport") -> "Iterator[str]":
    yield f"{server.url}/v1"
    if server.api_key_file:
        yield f"API key: {Path(server.api_key_file)}"
