"""`nimctl pull`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nimctl.cli.options import (
    dry_run_option,
    model_argument,
    offline_option,
    output_options,
    parse_reference,
    wish_options,
)

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.core.lock import Lock
    from nimctl.core.profile import Wish
    from nimctl.core.reports import Outcome, PullReport
    from nimctl.settings import Settings
    from nimctl.tools import Tools


class _Bytes(click.ParamType[int]):
    name = "bytes"

    def __init__(self, what: str, example: str) -> None:
        self._hint = f"is no {what}; use bytes, such as {example}"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)(?:i?B)?", str(value), re.IGNORECASE)
        number = (
            round(float(match[1]) * 1024 ** " KMG".index(match[2].upper() or " ")) if match else 0
        )
        if number < 1:
            self.fail(f"`{value}` {self._hint}", param, ctx)
        return number


@click.command(
    "pull",
    help="""Download a model, verify every byte and keep it in the store.

MODEL is a catalogue name (nimctl list-profiles shows them), hf://ORG/REPO[@REVISION][?include=GLOB],
ngc://ORG[/TEAM]/MODEL[:VERSION], oci://HOST/REPOSITORY[:TAG], ollama://NAME[:TAG],
s3://BUCKET/PREFIX, https://…[#sha256=HEX], or file:///PATH. An interrupted download goes on where
it stopped.""",
)
@model_argument
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
@wish_options
@offline_option
@dry_run_option
@output_options
@click.pass_obj
def command(
    settings: "Settings",
    /,
    model: str,
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
    offline: bool,
    dry_run: bool,
    output: "Output",
) -> None:
    """Argv to request, request to plan, plan to outcome, outcome to words."""
    from nimctl import api, execute
    from nimctl.cli.dry_run import show
    from nimctl.cli.units import size
    from nimctl.core.requests import PullRequest, TransferLimits
    from nimctl.tools import Tools

    request = PullRequest(
        ref=parse_reference(model).narrowed(include, exclude),
        wish=wish,
        lock=_read_lock(lock_file) if locked else None,
    )
    limits = TransferLimits(connections=connections, max_rate=max_rate, range_bytes=range_bytes)
    with Tools(settings, offline=offline, limits=limits) as tools:
        plan = api.plan_pull(request, tools)
        if dry_run:
            show(plan, tools, output)
            return
        with output.progress() as progress:
            outcome = execute.run(plan, tools, progress)
        report = _report(model, outcome, tools)
    if lock:
        _write_lock(lock_file, outcome)
    output.data(
        report,
        lambda: [
            f"{report.reference}: {len(report.files)} verified",
            f"{size(report.bytes_fetched)} fetched, {size(report.bytes_reused)} were there",
        ],
    )


def _read_lock(path: Path) -> "Lock":
    from nimctl import documents
    from nimctl.core.errors import NotFoundError
    from nimctl.core.lock import Lock

    lock = documents.read(path, Lock)
    if lock is None:
        raise NotFoundError(f"there is no lock file {path}", hint="nimctl pull MODEL --lock")
    return lock


def _write_lock(path: Path, outcome: "Outcome") -> None:
    from nimctl import documents
    from nimctl.core.lock import Lock

    if outcome.artifact is not None:
        before = documents.read(path, Lock) or Lock()
        documents.write(path, before.holding(outcome.artifact))


def _report(model: str, outcome: "Outcome", tools: "Tools") -> "PullReport":
    from nimctl.core.reports import PulledFile, PullReport

    artifact = outcome.artifact
    assert artifact is not None  # noqa: S101 - a pull plan has a Fetch, which sets it
    moved = {one.path: one for one in outcome.fetched}
    files = []
    for file in artifact.files:
        one = moved.get(file.path)
        sha256 = file.sha256 or ""
        files.append(
            PulledFile(
                name=file.path,
                path=str(tools.layout.blob(sha256)),
                size=file.size or 0,
                sha256=sha256,
                bytes_fetched=one.bytes_fetched if one else 0,
                bytes_reused=one.bytes_reused if one else 0,
            )
        )
    return PullReport(
        model=model,
        reference=artifact.reference,
        revision=artifact.revision,
        files=tuple(files),
        findings=outcome.findings,
        bytes_fetched=sum(one.bytes_fetched for one in outcome.fetched),
        bytes_reused=sum(one.bytes_reused for one in outcome.fetched),
    )
