"""Which profile is taken: the best of those that run and are as they were asked for."""

from collections.abc import Iterable
from typing import NamedTuple

from nimctl.core.errors import NotFoundError, UsageError
from nimctl.core.orders import Order, for_adapters, rank, why_after
from nimctl.core.profile import Candidate, Profile, Wish

_SHORTEST_ID = 8
_SHOWN = 8
_FLAGGED = ("vllm", "sglang", "llama_cpp", "nim")


class Choice(NamedTuple):
    """The candidate that is taken, and why it comes before the next that runs."""

    candidate: Candidate
    why: str


def choose(candidates: Iterable[Candidate], wish: Wish, order: Order) -> Choice | None:
    """Take the best that runs and is as it was asked for; None when none is.

    Raises:
        NotFoundError: A profile was named that is not among them.
        UsageError: Nothing has what was asked for, or the beginning of an id means several.
    """
    order = _order_for(wish, order)
    running = rank((one for one in _meant(candidates, wish) if one.runs), order)
    if not running:
        return None
    first, *others = running
    if wish.profile:
        return Choice(first, "it was asked for")
    if not others:
        return Choice(first, "no other runs here")
    lost = why_after(others[0], first, order)
    if lost is None or lost.is_arbitrary:
        return Choice(first, "the first by name, for no rule prefers another")
    return Choice(first, str(lost))


def matching(candidates: Iterable[Candidate], wish: Wish, order: Order) -> list[Candidate]:
    """Keep what the user asked for, best first.

    A profile that is named is kept whether it runs or not.

    Raises:
        NotFoundError, UsageError: As `asked_for`.
    """
    return rank(_meant(candidates, wish), _order_for(wish, order))


def _order_for(wish: Wish, order: Order) -> Order:
    return for_adapters(order) if wish.lora else order


def _meant(candidates: Iterable[Candidate], wish: Wish) -> list[Candidate]:
    kept = asked_for(list(candidates), wish)
    return kept if wish.profile else _for_adapters(kept, lora=wish.lora)


def asked_for(candidates: list[Candidate], wish: Wish) -> list[Candidate]:
    """Keep what has the name, the backend, precision, target and tags; adapters do not matter.

    What is kept stays in its order, in which errors name it too.

    Raises:
        NotFoundError: A profile was named that is not among them.
        UsageError: Nothing has what was asked for, the profile that is named has something else,
            or the beginning of an id means several.
    """
    if wish.profile:
        return _sized(_agreeing(_named(candidates, wish.profile, wish.named_by), wish), wish.gpus)
    for field, asked in _fields(wish):
        candidates = _narrowed(candidates, field, asked)
    if wish.tags:
        candidates = _tagged(candidates, wish.tags)
    return _sized(candidates, wish.gpus)


def _sized(candidates: list[Candidate], gpus: int | None) -> list[Candidate]:
    """Those that use so many GPUs; a NIM that chooses by itself uses what it gets."""
    if gpus is None:
        return candidates
    kept = [one for one in candidates if one.profile.gpus_needed == gpus or _is_bare_nim(one)]
    if not kept:
        there = sorted({one.profile.gpus_needed for one in candidates})
        raise UsageError(
            f"no profile is for {gpus} GPUs",
            cause=f"there are some for {', '.join(map(str, there))}",
            hint="--gpus device=… says which GPUs may be used, --replicas how often",
        )
    return kept


def _is_bare_nim(one: Candidate) -> bool:
    return one.profile.backend == "nim" and one.profile.entry is None


def _fields(wish: Wish) -> list[tuple[str, str]]:
    wishes = (("backend", wish.backend), ("precision", wish.precision), ("target", wish.target))
    return [(field, asked) for field, asked in wishes if asked]


def _named(candidates: list[Candidate], text: str, named_by: str) -> list[Candidate]:
    wanted = text.strip()
    # As NIM prints it: `id (name)`.
    if wanted.endswith(")") and " (" in wanted:
        wanted = wanted.partition(" (")[0]
    exact = [one for one in candidates if wanted in (one.profile.name, one.profile.id)]
    if exact:
        return exact
    if len(wanted) >= _SHORTEST_ID:
        begun = [one for one in candidates if one.profile.id.startswith(wanted)]
        if len({one.profile.id for one in begun}) > 1:
            raise UsageError(
                f"several profiles begin with `{wanted}`",
                cause=_listed(begun),
                hint="give more of the id",
            )
        if begun:
            return begun
    raise NotFoundError(
        f"there is no profile `{text}`, which {named_by} names",
        cause=f"there are {_listed(candidates)}" if candidates else None,
        hint="nimctl list-profiles MODEL --all",
    )


def _listed(candidates: list[Candidate]) -> str:
    shown = ", ".join(one.profile.name for one in candidates[:_SHOWN])
    rest = len(candidates) - _SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown


def _agreeing(named: list[Candidate], wish: Wish) -> list[Candidate]:
    """Those that are also as the rest of the wish says: it is never passed over in silence."""
    for field, asked in _fields(wish):
        kept = _having(named, field, asked)
        if not kept:
            raise _contradiction(wish, named[0].profile, field, asked)
        named = kept
    for tag, asked in wish.tags.items():
        kept = [one for one in named if _has_tags(one.profile, {tag: asked})]
        if not kept:
            raise _contradiction(wish, named[0].profile, tag, asked)
        named = kept
    return named


def _contradiction(wish: Wish, profile: Profile, what: str, asked: str) -> UsageError:
    has = profile.tags.get(what) or getattr(profile, what, None)
    return UsageError(
        f"{profile.name}, which {wish.named_by} names, is not of {what} {asked}",
        cause=f"it has {what} {has}" if has else f"it has no {what}",
        hint="leave one of the two out",
    )


def _narrowed(candidates: list[Candidate], field: str, asked: str) -> list[Candidate]:
    kept = _having(candidates, field, asked)
    if not kept:
        there = {value for one in candidates if (value := getattr(one.profile, field))}
        raise UsageError(
            f"no profile has {field} {asked}", cause="there is " + ", ".join(sorted(there))
        )
    return kept


def _having(candidates: list[Candidate], field: str, asked: str) -> list[Candidate]:
    # A profile for both targets names none.
    allowed = (asked, None) if field == "target" else (asked,)
    return [one for one in candidates if getattr(one.profile, field) in allowed]


def _tagged(candidates: list[Candidate], tags: dict[str, str]) -> list[Candidate]:
    kept = [one for one in candidates if _has_tags(one.profile, tags)]
    if not kept:
        words = ",".join(f"{tag}={value}" for tag, value in tags.items())
        there = sorted({tag for one in candidates for tag in one.profile.tags})
        raise UsageError(
            f"no profile has the tags {words}", cause="there are tags " + ", ".join(there)
        )
    return kept


def _has_tags(profile: Profile, tags: dict[str, str]) -> bool:
    there = profile.tags
    return all(there.get(tag, "").lower() == value.lower() for tag, value in tags.items())


def _for_adapters(candidates: list[Candidate], *, lora: bool) -> list[Candidate]:
    kept = [
        one
        for one in candidates
        if (_serves_adapters(one.profile) if lora else not one.profile.lora)
    ]
    if candidates and not kept:
        what = "serves LoRA adapters" if lora else "goes without LoRA adapters"
        raise UsageError(
            f"no profile {what}",
            cause=f"there are {_listed(candidates)}",
            hint="leave --lora out, and unset NIM_PEFT_SOURCE" if lora else "give --lora",
        )
    return kept


def _serves_adapters(profile: Profile) -> bool:
    """Of a NIM's profiles those made for it do; a NIM that chooses its own takes one of them.

    vLLM, SGLang and llama.cpp take a flag, and so does TensorRT-LLM where it serves a checkpoint;
    its engines are built for adapters or not.
    """
    flagged = profile.backend in _FLAGGED or profile.runtime == "pytorch"
    return profile.lora or (profile.entry is None and flagged)
