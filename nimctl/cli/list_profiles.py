"""`nimctl list-profiles`."""

from typing import TYPE_CHECKING

import click

from nimctl.cli.options import machine_options, offline_option, output_options, parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nimctl.cli.render import Output
    from nimctl.core.catalogue import Model
    from nimctl.core.machine import Host
    from nimctl.core.profile import Candidate
    from nimctl.core.reports import ListedModel
    from nimctl.settings import Settings


@click.command(
    "list-profiles",
    help="""Show the ways to run a model on this machine, with reasons.

Without MODEL, show the whole catalogue. An asterisk marks the profile that serve would take. --gpu
and --host show what another machine could run.""",
)
@click.argument("model", metavar="[MODEL]", required=False)
@machine_options()
@offline_option
@output_options
@click.pass_obj
def command(
    settings: "Settings",
    model: str | None,
    *,
    machine: "Host | None",
    offline: bool,
    output: "Output",
) -> None:
    """Judge and print."""
    from nimctl import api
    from nimctl.cli.opening import carry_out
    from nimctl.core.reports import CatalogueList, ProfileList
    from nimctl.tools import Tools

    with Tools(settings, offline=offline, machine=machine) as tools:
        host = tools.host()
        models: tuple[Model, ...]
        if model:
            ref = parse_reference(model)
            opening = api.plan_opening(ref, tools)
            if opening:
                carry_out(opening, tools, output)
            models = (api.model_of(ref, tools),)
        else:
            models, problems = tools.catalog.read_all()
            for problem in problems:
                output.warn(problem)
        listed = [_listed(one, api.survey(one, host, tools)) for one in models]
    if model:
        only = listed[0]
        report = ProfileList(
            host=host, model=only.model, selected=only.selected, profiles=only.profiles
        )
        output.data(report, lambda: _lines(host, listed))
    else:
        output.data(CatalogueList(host=host, models=tuple(listed)), lambda: _lines(host, listed))


def _listed(model: "Model", candidates: "list[Candidate]") -> "ListedModel":
    from nimctl.core.profile import Fit
    from nimctl.core.reports import ListedModel, ListedProfile

    runnable = [one for one in candidates if one.fit in (Fit.COMPATIBLE, Fit.BUILDABLE)]
    return ListedModel(
        model=model.name,
        title=model.title,
        license=model.license,
        selected=runnable[0].profile.id if runnable else None,
        profiles=tuple(
            ListedProfile(
                id=one.profile.id,
                name=one.profile.name,
                tags=one.profile.tags,
                fit=one.fit,
                lora=one.profile.lora,
                reasons=one.reasons,
                memory=one.memory,
                source=one.profile.source,
            )
            for one in candidates
        ),
    )


def _lines(host: "Host", models: "list[ListedModel]") -> "Iterator[str]":
    from nimctl.cli.render import table
    from nimctl.cli.units import size

    gpus = ", ".join(gpu.name for gpu in host.gpus) or "no NVIDIA GPU"
    yield (
        f"{host.cpu.model}, {host.cpu.cores} cores, {size(host.memory_available_bytes)} of "
        f"{size(host.memory_total_bytes)} memory free, "
        f"{size(host.disk_free_bytes)} disk free, {gpus}"
    )
    yield ""
    rows = [
        (
            model.model,
            profile.name + ("*" if profile.id == model.selected else ""),
            profile.id[:12],
            profile.fit.value,
            size(profile.memory.total_bytes) if profile.memory else "unknown",
            "; ".join(profile.reasons),
        )
        for model in models
        for profile in model.profiles
    ]
    yield from table(("MODEL", "PROFILE", "ID", "FIT", "MEMORY", "WHY"), rows)
