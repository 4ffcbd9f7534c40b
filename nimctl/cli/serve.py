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
from nimctl.cli.server_options import environment_option, pull_option, timeout_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nimctl.cli.render import Output
    from nimctl.cli.timings import Stopwatch
    from nimctl.core.machine import Host
    from nimctl.core.plan import Plan
    from nimctl.core.profile import Wish
    from nimctl.core.requests import ServeRequest
    from nimctl.core.server_reports import ServeReport
    from nimctl.core.servers import Server
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


class _Replicas(click.ParamType[int]):
    name = "replicas"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if str(value) == "auto":
            return 0
        if not str(value).isdigit() or int(value) < 1:
            self.fail(f"`{value}` is no number of replicas; use 1 or more, or auto", param, ctx)
        return int(value)


_ADAPTER = click.Path(exists=True, readable=True, resolve_path=True)
_EXISTING = click.Path(exists=True, dir_okay=False, readable=True, resolve_path=True)


def _address(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if value == "-" or value.endswith(".json"):
        raise click.BadParameter(f"`{value}` is no address; a machine's file is --host-file")
    return value


class _WithArguments(click.Command):
    """A command that takes more arguments after `--` only: a forgotten option has no value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse what stands after MODEL without `--`."""
        from nimctl.core.errors import UsageError

        own = args.index("--") if "--" in args else len(args)
        after = len(args) - own - 1
        left = super().parse_args(ctx, args)
        given = ctx.params.get("engine_arguments") or ()
        extra = given[: max(0, len(given) - max(0, after))]
        if extra and not ctx.resilient_parsing:
            raise UsageError(
                f"`{extra[0]}` is one argument too many",
                cause="one model is served; what is the engine's stands after --",
                hint=f"nimctl serve MODEL -- {extra[0]}",
            )
        return left


@click.command(
    "serve",
    cls=_WithArguments,
    help="""Serve a model with an OpenAI-compatible API.

What is missing is pulled and built first. MODEL is what `nimctl pull` takes. Arguments after --
go to the engine as they are.""",
)
@model_argument
@click.option("-p", "--port", type=_Port(), help="Port, or auto.  [default: 8000, of nemollm 9999]")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    callback=_address,
    help="Address to listen on.",
)
@click.option("-d", "--detach", is_flag=True, help="Return when the server is ready.")
@click.option("-n", "--name", metavar="NAME", help="The server's name; default: the model's.")
@click.option("--max-model-len", type=click.IntRange(min=1), help="Tokens of one sequence.")
@click.option("--max-num-seqs", type=click.IntRange(min=1), help="Sequences at once (slots).")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads that decode.")
@click.option("--chat-template", type=_EXISTING, help="Jinja file that replaces the model's own.")
@click.option("--embeddings", is_flag=True, help="Serve /v1/embeddings as well.")
@click.option(
    "--lora", "lora", multiple=True, type=_ADAPTER, help="LoRA adapter: PEFT's directory, or GGUF."
)
@click.option("--api-key-file", type=_EXISTING, help="File with the keys that clients may use.")
@click.option("--no-auth", is_flag=True, help="No key, also when reachable from other machines.")
@click.option(
    "--gpus",
    "used_gpus",
    default="all",
    show_default=True,
    metavar="N|all|none|device=…",
    help="GPUs by number, index or UUID.",
)
@click.option("--share-gpus", is_flag=True, help="Also GPUs that another server has.")
@click.option("--require-gpu", is_flag=True, help="Fail rather than serve on the CPU.")
@click.option("--container", is_flag=True, help="Serve from a container also on the CPU.")
@click.option("--image", metavar="IMAGE", help="The container's image; default: the backend's.")
@click.option(
    "--manifest",
    type=_EXISTING,
    help="A NIM manifest to choose from; default: the one in the NIM's image.",
)
@pull_option
@environment_option("A variable of the container; without a value, the caller's.")
@click.option(
    "--restart",
    type=click.Choice(["no", "unless-stopped"]),
    default="no",
    show_default=True,
    help="Whether the engine starts the container again.",
)
@click.option(
    "--replicas",
    type=_Replicas(),
    default="1",
    show_default=True,
    metavar="N|auto",
    help="Containers behind a router; auto: as many as there are GPUs for.",
)
@click.option("--tls-cert", "certificate", type=_EXISTING, help="PEM file: certificate and key.")
@click.option(
    "--wait",
    type=click.Choice(["ready", "token", "none"]),
    help="Ready is: HTTP 200, a token as well, or nothing.  [default: token for LLMs]",
)
@timeout_option
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
    used_gpus: str,
    share_gpus: bool,
    environment: tuple[str, ...],
    restart: str,
    replicas: int,
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
    from nimctl.core.devices import parse_gpus
    from nimctl.core.requests import ServeRequest, read_variables
    from nimctl.tools import Tools

    only_planned(machine, dry_run=dry_run)
    fields = {
        "ref": parse_reference(model),
        "wish": wish,
        "auth": not no_auth,
        "gpus": parse_gpus(used_gpus, shared=share_gpus),
        "environment": read_variables(environment, settings.variables),
        "restarts": restart != "no",
        "offline": offline,
        "replicas": replicas or None,
        **options,
    }
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
    from nimctl.core.plan import Launch, LaunchContainer
    from nimctl.core.server_reports import ServeReport

    for note in plan.notes:
        output.note(note)
    with output.progress() as progress:
        stopwatch = Stopwatch(progress)
        execute.run(plan, tools, stopwatch)
    # The last one is what clients talk to: the router, where there is one.
    launched = [one for one in plan.steps if isinstance(one, Launch | LaunchContainer)][-1]
    name = launched.server.name

    def report() -> ServeReport:
        return ServeReport(server=tools.servers.find(name), notes=plan.notes)

    if request.detach:
        _report(launched.server, report, stopwatch, output, timings=timings)
        output.note(f"stop it with: nimctl stop {name}")
        return
    with _stopped_by_signals(name, tools, output):
        _report(launched.server, report, stopwatch, output, timings=timings)
        output.note("Ctrl-C stops it")
        tools.groups.wait(name)


def _report(
    server: "Server",
    report: "Callable[[], ServeReport]",
    stopwatch: "Stopwatch",
    output: "Output",
    *,
    timings: bool,
) -> None:
    output.note(f"{server.name} is ready after {stopwatch.total_s:.2f} s")
    if timings:
        for line in stopwatch.lines():
            output.note(line)
    # Whoever reads the endpoint alone does not wait for what else there is to know.
    output.data_of(report, lambda: _endpoint(server))


@contextmanager
def _stopped_by_signals(name: str, tools: "Tools", output: "Output") -> "Iterator[None]":
    from nimctl.core.errors import ContainerEngineError, Exit, Terminated

    try:
        yield
    except (KeyboardInterrupt, Terminated) as asked:
        try:
            # The second Ctrl-C may come as soon as this is read.
            output.note(f"stopping {name}; requests in flight are finished, Ctrl-C again kills it")
            tools.groups.stop(name)
        except KeyboardInterrupt:
            tools.groups.stop(name, grace_s=0)
        except ContainerEngineError:
            # What is behind a router is not known, but the router itself must not outlive this.
            tools.servers.stop_launched()
            raise
        # What was asked for has happened, so that this is no error to explain.
        ended = Exit.TERMINATED if isinstance(asked, Terminated) else Exit.INTERRUPTED
        raise click.exceptions.Exit(ended) from None


def _endpoint(server: "Server") -> "Iterator[str]":
    yield f"{server.url}/v1"
    if server.api_key_file:
        yield f"API key: {Path(server.api_key_file)}"
