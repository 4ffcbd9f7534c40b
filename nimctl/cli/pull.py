"""`nimctl pull`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nimctl.cli.completion import complete_model
from nimctl.cli.options import (
    dry_run_option,
    manifest_options,
    offline_option,
    output_options,
    parse_reference,
    wish_options,
)

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.core.nim_manifest import ManifestSource
    from nimctl.core.profile import Wish
    from nimctl.core.requests import PullRequest
    from nimctl.settings import Settings
    from nimctl.tools import Tools


class _Bytes(click.ParamType[int]):
    name = "bytes"

    def __init__(self, what: str, example: str) -> None:
        self._hint = f"is no {what}; use bytes, such as {example}"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        from nimctl.core.sizes import parse_size

        number = parse_size(str(value)) or 0
        if number < 1:
            self.fail(f"`{value}` {self._hint}", param, ctx)
        return number


@click.command(
    "pull",
    help="""Download a model, verify every byte and keep it in the store.

MODEL is a catalogue name (nimctl list-profiles shows them), hf://ORG/REPO[@REVISION][?include=GLOB],
ngc://ORG[/TEAM]/MODEL[:VERSION], oci://HOST/REPOSITORY[:TAG], ollama://NAME[:TAG],
s3://BUCKET/PREFIX, https://…[#sha256=HEX], or file:///PATH. An interrupted download goes on where
it stopped. With --manifest, --endpoint or --image instead, the files of one profile of a NIM are
laid out in NIM's cache as well.""",
)
@click.argument("model", metavar="[MODEL]", required=False, shell_complete=complete_model)
@click.option("--include", multiple=True, metavar="GLOB", help="Only these files.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Not these files.")
@click.option("--connections", type=click.IntRange(1, 64), help="Connections at once; default 8.")
@click.option(
    "--max-rate",
    type=_Bytes("rate", "500K or 20M a second"),
    help="Bytes a second at most, such as 500K or 20M.",
)
@click.option(
    "--range-size",
    "range_bytes",
    type=_Bytes("size", "16M"),
    help="Bytes of one request at least; default 16M. A kill costs one for each connection.",
)
@click.option("--lock", is_flag=True, help="Write what came into the lock file.")
@click.option("--locked", is_flag=True, help="Take what the lock file says, and nothing else.")
@click.option(
    "--lock-file",
    type=click.Path(dir_okay=False, path_type=Path),
    default="nimctl.lock",
    show_default=True,
    help="The lock file.",
)
@manifest_options()
@click.option(
    "--cache",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="NIM's cache; default $LOCAL_NIM_CACHE, $NIM_CACHE_PATH or ~/.cache/nim.",
)
@click.option(
    "--model-store",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="A directory for the profile's files alone, instead of the cache or beside it.",
)
@wish_options
@offline_option
@dry_run_option
@output_options
@click.pass_obj
def command(
    settings: "Settings",
    /,
    model: str | None,
    *,
    wish: "Wish",
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    connections: int | None,
    max_rate: int | None,
    range_bytes: int | None,
    lock: bool,
    locked: bool,
    lock_file: Path,
    manifest: "ManifestSource | None",
    pull_image: bool,
    cache: str | None,
    model_store: str | None,
    offline: bool,
    dry_run: bool,
    output: "Output",
) -> None:
    """Argv to request, request to plan, plan to outcome, outcome to words."""
    from nimctl.cli import pull_profile
    from nimctl.cli.locks import check_lockable, holding_to, read_lock
    from nimctl.core.errors import UsageError
    from nimctl.core.requests import PullRequest, TransferLimits
    from nimctl.tools import Tools

    locked_to = read_lock(lock_file) if locked else None
    to = lock_file if lock else None
    limits = TransferLimits(connections=connections, max_rate=max_rate, range_bytes=range_bytes)
    with (
        holding_to(lock_file if locked else None),
        Tools(settings, offline=offline, limits=limits) as tools,
    ):
        if manifest is not None:
            if model or include or exclude:
                raise UsageError(
                    "a manifest says itself what to pull",
                    hint="leave MODEL, --include and --exclude out",
                )
            asked = pull_profile.Asked(manifest, pull_image, wish, locked_to, cache, model_store)
            found = pull_profile.find(asked, tools, output)
            pull_profile.pull(found, tools, output, dry_run=dry_run, lock_file=to)
            return
        if model is None:
            raise UsageError("nothing says what to pull", hint="nimctl pull MODEL, or --manifest")
        if cache or model_store:
            raise UsageError("--cache and --model-store go with a manifest", hint="--manifest FILE")
        ref = parse_reference(model).narrowed(include, exclude)
        if lock:
            check_lockable(str(ref), lock_file)
        request = PullRequest(ref=ref, wish=wish, lock=locked_to)
        _pull(model, request, tools, output, dry_run=dry_run, lock_file=to)


def _pull(
    model: str,
    request: "PullRequest",
    tools: "Tools",
    output: "Output",
    *,
    dry_run: bool,
    lock_file: Path | None,
) -> None:
    from nimctl import api, execute
    from nimctl.cli.dry_run import show
    from nimctl.cli.locks import write_lock
    from nimctl.cli.pulled import pulled_files
    from nimctl.cli.units import size
    from nimctl.core.reports import PullReport

    plan = api.plan_pull(request, tools)
    if dry_run:
        show(plan, tools, output)
        return
    with output.progress() as progress:
        outcome = execute.run(plan, tools, progress)
    if lock_file:
        write_lock(lock_file, outcome)
    (brought,) = outcome.brought  # a pull plan has one fetch
    report = PullReport(
        model=model,
        reference=brought.artifact.reference,
        revision=brought.artifact.revision,
        files=pulled_files(brought, tools.layout),
        findings=outcome.findings,
        bytes_fetched=sum(one.bytes_fetched for one in brought.fetched),
        bytes_reused=sum(one.bytes_reused for one in brought.fetched),
    )
    output.data(
        report,
        lambda: [
            f"{report.reference}: {len(report.files)} verified",
            f"{size(report.bytes_fetched)} fetched, {size(report.bytes_reused)} were there",
        ],
    )
