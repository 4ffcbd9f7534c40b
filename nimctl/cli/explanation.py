"""Everything about one profile, in words."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nimctl.cli.profile_words import UNKNOWN, host_lines, to_download, wrapped
from nimctl.cli.units import size

if TYPE_CHECKING:
    from nimctl.core.catalogue import Nim
    from nimctl.core.memory import MemoryNeed
    from nimctl.core.profile_reports import ExplainedProfile, ListedProfile

_LABEL = 12


def explanation_lines(report: "ExplainedProfile") -> Iterator[str]:
    """Its tags, each check, its memory, and where it stands."""
    profile = report.profile
    yield from wrapped(profile.name)
    yield from host_lines(report.host)
    yield ""
    facts = list(_facts(report))
    width = max(_LABEL, *(len(label) for label, _ in facts))
    for label, text in facts:
        yield from _labelled(label, text, width)
    if report.nim:
        yield ""
        yield "CONTAINER"
        for label, text in _container(report.nim):
            yield from _labelled(f"  {label}", text)
    yield ""
    yield "CHECKS"
    for check in report.checks:
        yield from _labelled(f"  {'passed' if check.passed else 'FAILED'}", f"{check.words}")
    if profile.memory:
        yield ""
        yield from _memory(profile, profile.memory)
    yield ""
    yield "ORDER"
    if report.selected:
        yield "  chosen"
    yield f"  {report.position} of {report.of}"
    for lost in report.lost_to:
        yield from wrapped(f"after {lost.profile}", "  ")
        yield from wrapped(f"by {lost.rule}: {lost.winner} before {lost.loser}", "    ")


def _facts(report: "ExplainedProfile") -> Iterator[tuple[str, str]]:
    profile = report.profile
    yield "model", report.model
    yield "id", profile.id
    yield from profile.tags.items()
    if report.manifest:
        yield "manifest", report.manifest.source
    else:
        yield "files", profile.source or "the container's own"
    yield "download", _download(profile)
    yield "engine", "none, the weights are served" if profile.engine == "none" else profile.engine
    yield "fit", profile.fit.value
    by_uuid = {gpu.uuid: gpu for gpu in report.host.gpus}
    for uuid in profile.gpus:
        gpu = by_uuid[uuid]
        yield "GPU", f"{gpu.index} {gpu.name} ({uuid})"
    for reason in profile.reasons:
        yield "reason", reason
    if profile.evidence:
        yield "evidence", profile.evidence
    if profile.unverified:
        yield "unverified", "no source confirms it"


def _download(profile: "ListedProfile") -> str:
    words = to_download(profile)
    if words is None:
        return "size not known"
    estimated = profile.estimated_download_bytes is not None
    return f"{words}, an estimate from parameters and precision" if estimated else words


def _container(nim: "Nim") -> Iterator[tuple[str, str]]:
    yield "image", nim.image
    for spoken, port in nim.ports.items():
        yield spoken, f"port {port}"
    yield "ready", nim.health_path
    for path in nim.api:
        doubt = "  (no source confirms it)" if path.unverified else ""
        yield "answers", f"{path.path}{doubt}"
    if nim.selector:
        values = ", ".join(nim.selector_values)
        yield "selector", f"{nim.selector}: {values}" if values else nim.selector
    for name, value in nim.environment.items():
        yield "sets", f"{name}={value}"
    yield "key", nim.key_variable
    yield "cache", nim.cache_path
    if nim.shm_gib:
        yield "shm", f"{nim.shm_gib:g} GiB"
    if nim.start_minutes:
        yield "starts in", f"about {nim.start_minutes:g} minutes"
    for note in nim.notes:
        yield "note", note
    for page in nim.more_sources:
        yield "evidence", page


def _memory(profile: "ListedProfile", need: "MemoryNeed") -> Iterator[str]:
    yield "MEMORY of each GPU" if profile.gpus else "MEMORY"
    parts = (
        ("weights", need.weights_bytes),
        ("KV cache", need.kv_cache_bytes),
        ("activations", need.compute_bytes),
        ("runtime", need.runtime_bytes),
        ("kept free", need.reserve_bytes),
        ("together", need.total_bytes),
    )
    for name, count in parts:
        yield f"  {name:<{_LABEL}}  {size(count):>10}"
    yield f"  {need.kv_bytes_per_token:,} bytes of KV cache a token"
    yield from wrapped(
        f"room for {need.kv_tokens:,} tokens, {need.sequences:,} sequences of full length", "  "
    )
    longest = f"{need.fitting_context:,} tokens" if need.fitting_context else UNKNOWN
    yield f"  longest context that fits: {longest}"
    if need.grade:
        yield f"  grade: {need.grade.value}"


def _labelled(label: str, text: str, width: int = _LABEL) -> Iterator[str]:
    head = f"{label:<{width}}  "
    lines = wrapped(text, " " * len(head)) or [""]
    first = lines[0][len(head) :]
    yield (head + first).rstrip()
    yield from lines[1:]
