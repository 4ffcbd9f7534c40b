"""`nimctl list-profiles`."""

from typing import TYPE_CHECKING

import click

from nimctl.cli.completion import complete_model, complete_profile
from nimctl.cli.options import (
    machine_options,
    manifest_options,
    offline_option,
    output_options,
    parse_reference,
    wish_options,
)

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.core.catalogue import Model
    from nimctl.core.machine import Host
    from nimctl.core.memory import CapacityWish
    from nimctl.core.nim_manifest import ManifestSource
    from nimctl.core.profile import Wish
    from nimctl.settings import Settings
    from nimctl.tools import Tools


@click.command(
    "list-profiles",
    help="""Show the ways to run a model on this machine, with reasons.

Without MODEL, show the whole catalogue; with --manifest, --endpoint or --image, what a NIM
container has. An asterisk marks the profile that would be taken, and the line under it says by
which rule. --gpu and --host show what another machine could run.""",
)
@click.argument("model", metavar="[MODEL]", required=False, shell_complete=complete_model)
@click.option(
    "--explain",
    metavar="NAME|ID",
    shell_complete=complete_profile,
    help="Show everything about one profile, and why it is chosen or not.",
)
@click.option("--all", "everything", is_flag=True, help="Also show what does not run here.")
@click.option("--lora", is_flag=True, help="Choose a profile that serves LoRA adapters.")
@click.option("--max-model-len", type=click.IntRange(min=1), help="Tokens of one sequence.")
@click.option("--max-num-seqs", type=click.IntRange(min=1), help="Sequences at once.")
@wish_options
@manifest_options("--pull")
@machine_options()
@offline_option
@output_options
@click.pass_obj
def command(
    settings: "Settings",
    model: str | None,
    *,
    explain: str | None,
    everything: bool,
    lora: bool,
    max_model_len: int | None,
    max_num_seqs: int | None,
    wish: "Wish",
    manifest: "ManifestSource | None",
    pull_image: bool,
    machine: "Host | None",
    offline: bool,
    output: "Output",
) -> None:
    """Judge and print."""
    import msgspec

    from nimctl.cli import manifests
    from nimctl.core.errors import UsageError
    from nimctl.core.memory import CapacityWish
    from nimctl.tools import Tools

    wish = msgspec.structs.replace(wish, lora=wish.lora or lora)
    capacity = CapacityWish(max_model_len=max_model_len, max_num_seqs=max_num_seqs)
    with Tools(settings, offline=offline, machine=machine) as tools:
        if manifest is not None:
            if model is not None:
                raise UsageError("MODEL and a manifest both name profiles", hint="give one of them")
            found = manifests.read(manifest, tools, output, pull_image=pull_image)
            if explain is not None:
                manifests.explain(found, wish, capacity, tools, output, name=explain)
            else:
                manifests.list_profiles(found, wish, capacity, tools, output)
        elif model is not None:
            one = _find(model, tools, output)
            if explain is not None:
                _explain(one, wish, capacity, tools, output, name=explain)
            else:
                _list(one, wish, capacity, tools, output, everything=everything)
        elif explain is not None:
            raise UsageError("--explain needs a model", hint="nimctl list-profiles MODEL --explain")
        else:
            _list_all(wish, capacity, tools, output)


def _find(model: str, tools: "Tools", output: "Output") -> "Model":
    from nimctl import api
    from nimctl.cli.opening import carry_out

    ref = parse_reference(model)
    opening = api.plan_opening(ref, tools)
    if opening:
        carry_out(opening, tools, output)
    return api.model_of(ref, tools)


def _list(
    model: "Model",
    wish: "Wish",
    capacity: "CapacityWish",
    tools: "Tools",
    output: "Output",
    *,
    everything: bool,
) -> None:
    from nimctl.cli.profile_documents import listed_model
    from nimctl.cli.profile_tables import model_lines
    from nimctl.core.profile_reports import ProfileList
    from nimctl.survey import made_for_others, survey

    host = tools.host()
    everywhere = everything or wish.narrows
    found = survey(model, host, tools, capacity, everywhere=everywhere)
    listed = listed_model(model, found.narrowed(wish), found.choice(wish))
    report = ProfileList(
        host=host,
        model=listed.model,
        selected=listed.selected,
        why=listed.why,
        profiles=listed.profiles,
        others=0 if everywhere else made_for_others(model, host),
    )
    output.data(report, lambda: model_lines(report, everything=everything))


def _explain(
    model: "Model",
    wish: "Wish",
    capacity: "CapacityWish",
    tools: "Tools",
    output: "Output",
    *,
    name: str,
) -> None:
    import msgspec

    from nimctl.cli.explanation import explanation_lines
    from nimctl.cli.profile_documents import explained
    from nimctl.core.errors import NotFoundError
    from nimctl.core.profile import Wish
    from nimctl.survey import survey

    host = tools.host()
    named = Wish(profile=name, named_by="--explain")
    found = survey(model, host, tools, capacity)
    try:
        one = found.matching(named)[0]
    except NotFoundError:  # perhaps it is made for a GPU that is not here
        found = survey(model, host, tools, capacity, everywhere=True)
        one = found.matching(named)[0]
    report = msgspec.structs.replace(
        explained(one, found, found.choice(wish), host, model.name),
        nim=model.nim if one.profile.backend == "nim" else None,
    )
    output.data(report, lambda: explanation_lines(report))


def _list_all(wish: "Wish", capacity: "CapacityWish", tools: "Tools", output: "Output") -> None:
    import msgspec

    from nimctl.cli.profile_documents import listed_model
    from nimctl.cli.profile_tables import catalogue_lines
    from nimctl.core.errors import UsageError
    from nimctl.core.profile_reports import CatalogueList
    from nimctl.prebuilts import pulled_engines
    from nimctl.survey import survey

    if wish.profile and wish.named_by == "--profile":
        raise UsageError("--profile needs a model", hint="nimctl list-profiles MODEL --profile ...")
    # What NIM_MODEL_PROFILE names belongs to one model of these.
    wish = msgspec.structs.replace(wish, profile=None)
    host = tools.host()
    models, problems = tools.catalog.read_all()
    for problem in problems:
        output.warn(problem)
    listed = []
    pulled = tuple(pulled_engines(tools))
    for model in models:
        found = survey(model, host, tools, capacity, pulled=pulled)
        try:
            choice = found.choice(wish)
        except UsageError:  # nothing of this model has what was asked for
            choice = None
        listed.append(listed_model(model, found, choice))
    report = CatalogueList(host=host, models=tuple(listed))
    output.data(report, lambda: catalogue_lines(report))
