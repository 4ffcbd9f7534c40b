"""`nimctl build-engine`."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import click

from nimctl.cli.build_options import build_options
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
    from nimctl.core.reports import BuildReport, BuildReports, FailedBuild
    from nimctl.core.requests import BuildRequest
    from nimctl.core.trtllm.subject import BuildOptions
    from nimctl.settings import Settings
    from nimctl.tools import Tools

Made = TypeVar("Made")


@click.command(
    "build-engine",
    help="""Build a model's engine for this machine, or find it built.

For the backend llama_cpp that is a GGUF file, converted from the model's safetensors. For
tensorrt_llm it is what trtllm-build makes of the checkpoint, in NVIDIA's container, for exactly the
GPUs of this machine; where that cannot be, a checkpoint for the PyTorch backend with options for
these GPUs. An engine is kept under a key of all that it depends on, and built once.""",
)
@model_argument
@wish_options
@click.option(
    "--profiles",
    metavar="NAME,…",
    help="Build each of these profiles, one after the other.",
)
@click.option("--keep-going", is_flag=True, help="With --profiles: go on when one fails.")
@build_options
@click.option(
    "--calib",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help='Texts that quantisation measures with, such as JSON lines of {"text": "…"}.',
)
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
    options: "BuildOptions",
    calib: str | None,
    profiles: str | None,
    keep_going: bool,
    machine: "Host | None",
    offline: bool,
    dry_run: bool,
    output: "Output",
) -> None:
    """Argv to request, request to plan, plan to outcome, outcome to words."""
    from nimctl.core.errors import UsageError
    from nimctl.core.requests import BuildRequest
    from nimctl.tools import Tools

    only_planned(machine, dry_run=dry_run)
    if keep_going and not profiles:
        raise UsageError("--keep-going is for several builds", hint="--profiles NAME,NAME")
    request = BuildRequest(
        ref=parse_reference(model), wish=wish, options=options, calibration=calib
    )
    with Tools(settings, offline=offline, machine=machine) as tools:
        if profiles and dry_run:
            _show_all(_for_each(request, profiles), tools, output, keep_going=keep_going)
        elif profiles:
            _build_all(_for_each(request, profiles), tools, output, keep_going=keep_going)
        elif dry_run:
            _show(request, tools, output)
        else:
            report = _build(request, tools, output)
            output.data(report, lambda: [_line(report)])


def _show(request: "BuildRequest", tools: "Tools", output: "Output") -> None:
    from nimctl import api
    from nimctl.cli.dry_run import show

    show(api.plan_build(request, tools), tools, output)


def _show_all(
    requests: "list[BuildRequest]", tools: "Tools", output: "Output", *, keep_going: bool
) -> None:
    from itertools import chain

    from nimctl import api
    from nimctl.cli.shell import script
    from nimctl.core.reports import BuildPlans

    plans, failed = _each(
        requests, lambda request: api.plan_build(request, tools), output, keep_going=keep_going
    )
    report = BuildPlans(model=str(requests[0].ref), plans=tuple(plans), failed=tuple(failed))
    output.data(
        report,
        lambda: chain.from_iterable(script(plan, tools.python, tools.layout) for plan in plans),
    )
    _refuse(failed, of=len(requests))


def _each(
    requests: "list[BuildRequest]",
    make: "Callable[[BuildRequest], Made]",
    output: "Output",
    *,
    keep_going: bool,
) -> "tuple[list[Made], list[FailedBuild]]":
    """What comes of each request, and of which nothing does."""
    from nimctl.core.errors import NimctlError
    from nimctl.core.reports import FailedBuild

    made, failed = [], []
    for request in requests:
        try:
            made.append(make(request))
        except NimctlError as error:
            if not keep_going:
                raise
            name = request.wish.profile or ""
            failed.append(FailedBuild(profile=name, error=error.message, cause=error.cause))
            output.note(f"{name}: {error.message}")
    return made, failed


def _refuse(failed: "list[FailedBuild]", *, of: int) -> None:
    from nimctl.core.errors import BuildError

    if failed:
        raise BuildError(
            f"{len(failed)} of {of} builds failed",
            cause=", ".join(one.profile for one in failed),
            hint="build one alone to see all that is known of its failure",
        )


def _for_each(request: "BuildRequest", profiles: str) -> "list[BuildRequest]":
    import msgspec

    from nimctl.core.errors import UsageError

    names = [name.strip() for name in profiles.split(",") if name.strip()]
    if not names:
        raise UsageError("--profiles names none", hint="--profiles NAME,NAME")
    wishes = [
        msgspec.structs.replace(request.wish, profile=name, named_by="--profiles") for name in names
    ]
    return [msgspec.structs.replace(request, wish=wish) for wish in wishes]


def _build(request: "BuildRequest", tools: "Tools", output: "Output") -> "BuildReport":
    from nimctl import api, execute
    from nimctl.cli.opening import planned_through
    from nimctl.core.reports import BuildReport

    plan = api.plan_build(request, tools)
    plan = planned_through(plan, lambda: api.plan_build(request, tools), tools, output)
    for note in plan.notes:
        output.note(note)
    with output.progress() as progress:
        outcome = execute.run(plan, tools, progress)
    engine = outcome.engine
    assert engine is not None  # noqa: S101 - a build plan ends with an engine
    return BuildReport(
        model=str(request.ref),
        profile=engine.recipe.precision,
        built=outcome.built,
        directory=str(tools.layout.engine(engine.key)),
        engine=engine,
        notes=plan.notes,
    )


def _build_all(
    requests: "list[BuildRequest]", tools: "Tools", output: "Output", *, keep_going: bool
) -> None:
    from nimctl.core.reports import BuildReports

    built, failed = _each(
        requests, lambda request: _build(request, tools, output), output, keep_going=keep_going
    )
    report = BuildReports(model=str(requests[0].ref), builds=tuple(built), failed=tuple(failed))
    output.data(report, lambda: _lines(report))
    _refuse(failed, of=len(requests))


def _lines(report: "BuildReports") -> Iterator[str]:
    yield from map(_line, report.builds)
    for one in report.failed:
        yield f"{one.profile}: failed: {one.error}"


def _line(report: "BuildReport") -> str:
    from nimctl.cli.units import size

    engine = report.engine
    word = "built" if report.built else "already built"
    cold = engine.warm_up is not None and engine.warm_up.result == "failed"
    more = ", its warm-up failed" if cold else ""
    return f"engine {engine.key[:12]}: {word}{more}, {size(engine.size)}, {report.directory}"
