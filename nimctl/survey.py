"""What there is to choose from: a model's profiles, judged for a host with what the store has."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from nimctl.core import decide
from nimctl.core.catalogue import Model
from nimctl.core.choice import CATALOGUE_ORDER, Choice, Order, choose, matching, rank
from nimctl.core.facts import Artifact
from nimctl.core.fit import Judge
from nimctl.core.gpus import PARTS
from nimctl.core.machine import Host
from nimctl.core.memory import ANY_CAPACITY, CapacityWish
from nimctl.core.profile import Candidate, Profile, Wish
from nimctl.core.refs import ModelRef
from nimctl.core.variants import parts_of, profiles_of
from nimctl.tools import Tools


class Survey(NamedTuple):
    """The candidates, best first; `sizes` are bytes of the files of a source, where known."""

    candidates: list[Candidate]
    order: Order
    judge: Judge
    sizes: Mapping[str, int | None]

    def matching(self, wish: Wish) -> list[Candidate]:
        """What a wish leaves, best first; see `choice.matching`."""
        return matching(self.candidates, wish, self.order)

    def choice(self, wish: Wish) -> Choice | None:
        """The candidate that a wish leads to; see `choice.choose`."""
        return choose(self.candidates, wish, self.order)


def survey(
    model: Model,
    host: Host,
    tools: Tools,
    capacity: CapacityWish = ANY_CAPACITY,
    *,
    everywhere: bool = False,
) -> Survey:
    """Judge the profiles of a model, with `everywhere` also those made for other GPUs."""
    profiles = profiles_of(model, PARTS if everywhere else parts_of(host))
    judge = Judge(host, architecture=model.architecture, capacity=capacity)
    pinned = _pinned(profiles, tools)
    judged = (judge.judge(one, cached=_is_cached(one, pinned, tools)) for one in profiles)
    return Survey(
        candidates=rank(judged, CATALOGUE_ORDER),
        order=CATALOGUE_ORDER,
        judge=judge,
        sizes={source: one.size if one else None for source, one in pinned.items()},
    )


def made_for_others(model: Model, host: Host) -> int:
    """How many profiles of a model are made for GPUs that the host has not."""
    return len(profiles_of(model, PARTS)) - len(profiles_of(model, parts_of(host)))


def _pinned(profiles: Iterable[Profile], tools: Tools) -> dict[str, Artifact | None]:
    sources = dict.fromkeys(profile.source for profile in profiles if profile.source)
    return {one: tools.artifacts.pinned(ModelRef.parse(one)) for one in sources}


def _is_cached(profile: Profile, pinned: Mapping[str, Artifact | None], tools: Tools) -> bool:
    artifact = pinned.get(profile.source or "")
    if artifact is None or artifact.digest is None:
        return False
    if not profile.build:
        return all(tools.blobs.has(file.sha256 or "") for file in artifact.files)
    key = decide.recipe_for(profile, tools.builder.version).key(artifact.digest)
    return tools.engines.find(key) is not None
