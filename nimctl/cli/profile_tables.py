"""Profiles as tables: the whole catalogue, and one model."""

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, get_args

from nimctl.cli.profile_words import UNKNOWN, host_lines, memory_needed, to_download, wrapped
from nimctl.cli.render import table
from nimctl.cli.units import size
from nimctl.core.catalogue import Family
from nimctl.core.profile import Fit

if TYPE_CHECKING:
    from nimctl.core.profile_reports import (
        CatalogueList,
        ListedModel,
        ListedProfile,
        ProfileList,
    )

_FAMILIES = get_args(Family)
_UNVERIFIED = " ?"
_INDENT = "    "
# Of those that do not run, where none does.
_FEW = 8
_ESTIMATED = "~ an estimate from parameters and precision: the registry is asked by a pull"
_HEADER = ("ID", "FIT", "MEMORY", "KV TOKENS", "SEQS", "ENGINE", "DOWNLOAD")


def catalogue_lines(report: "CatalogueList") -> Iterator[str]:
    """A table a family, one line a model."""
    yield from host_lines(report.host)
    models = sorted(report.models, key=lambda one: (_FAMILIES.index(one.family), one.model))
    for family, group in groupby(models, key=lambda one: one.family):
        rows = [_model_row(model) for model in group]
        yield ""
        yield from table((family.upper(), "BEST HERE", "FIT", "GiB"), rows)
    if any(_is_doubtful(model) for model in models):
        yield ""
        yield "? not confirmed by any source"


def model_lines(report: "ProfileList", *, everything: bool) -> Iterator[str]:
    """Two lines a profile, and a third for its reasons; those that run here unless none does."""
    yield report.model
    yield from host_lines(report.host)
    yield ""
    running = [one for one in report.profiles if one.fit is not Fit.INCOMPATIBLE]
    shown = list(report.profiles) if everything else running or list(report.profiles[:_FEW])
    header, *rows = table(_HEADER, [_profile_row(one) for one in shown])
    yield "  PROFILE"
    yield _INDENT + header
    for profile, row in zip(shown, rows, strict=True):
        chosen = profile.id == report.selected
        mark = _UNVERIFIED if profile.unverified else ""
        yield f"{'*' if chosen else ' '} {profile.name}{mark}"
        yield _INDENT + row
        if chosen:
            yield from wrapped(f"chosen: {report.why}", _INDENT)
        for reason in profile.reasons:
            yield from wrapped(reason, _INDENT)
    if any(one.estimated_download_bytes for one in shown):
        yield ""
        yield from wrapped(_ESTIMATED)
    left_out = len(report.profiles) - len(shown) + report.others
    if left_out:
        yield ""
        yield from wrapped(f"{left_out} more do not run here; --all shows them, with reasons")


def _model_row(model: "ListedModel") -> tuple[str, ...]:
    name = model.model + (_UNVERIFIED if _is_doubtful(model) else "")
    best = _best(model)
    if best is None:
        return name, UNKNOWN, UNKNOWN, UNKNOWN
    memory = memory_needed(best)
    gib = UNKNOWN if memory is None else f"{memory / 2**30:.1f}"
    return name, _in_short(best), best.fit.value, gib


def _best(model: "ListedModel") -> "ListedProfile | None":
    chosen = (one for one in model.profiles if one.id == model.selected)
    return next(chosen, next(iter(model.profiles), None))


def _is_doubtful(model: "ListedModel") -> bool:
    best = _best(model)
    return model.unverified or (best is not None and best.unverified)


def _in_short(profile: "ListedProfile") -> str:
    """A profile's name without what most have in common."""
    tags = profile.tags
    parallel = f"tp{tags['tp']}" if tags.get("tp", "1") != "1" else None
    parts = (tags.get("backend"), tags.get("precision"), parallel)
    return " ".join(part for part in parts if part)


def _profile_row(profile: "ListedProfile") -> tuple[str, ...]:
    memory, needed = profile.memory, memory_needed(profile)
    return (
        profile.id[:8],
        profile.fit.value,
        UNKNOWN if needed is None else size(needed),
        f"{memory.kv_tokens:,}" if memory else UNKNOWN,
        f"{memory.sequences:,}" if memory else UNKNOWN,
        UNKNOWN if profile.engine == "none" else profile.engine,
        to_download(profile) or UNKNOWN,
    )
