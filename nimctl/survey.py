"""What there is to choose from: profiles, judged for a host with what the store has."""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from nimctl import builders
from nimctl.core import decide
from nimctl.core.architecture import Architecture
from nimctl.core.catalogue import Model
from nimctl.core.choice import Choice, asked_for, choose, matching
from nimctl.core.download_estimates import download_estimates
from nimctl.core.engine import Engine
from nimctl.core.engine_check import built_profiles, kv_caches_of, stands_for
from nimctl.core.errors import UsageError, VerificationError
from nimctl.core.facts import Artifact
from nimctl.core.fit import Judge, engines_for
from nimctl.core.gpus import PARTS
from nimctl.core.machine import Host
from nimctl.core.memory import ANY_CAPACITY, CapacityWish
from nimctl.core.nim_manifest import (
    ManifestProfile,
    NimManifest,
)
from nimctl.core.nim_profiles import named, profile_of
from nimctl.core.nim_workspace import sources_of
from nimctl.core.orders import CATALOGUE_ORDER, NIM_ORDER, Order, rank
from nimctl.core.profile import Candidate, Profile, Wish
from nimctl.core.refs import ModelRef
from nimctl.core.trtllm.prebuilt import FoundEngine, profiles_of_nim
from nimctl.core.variants import parts_of, profiles_of
from nimctl.manifests.patterns import try_patterns
from nimctl.prebuilts import pulled_engines
from nimctl.tools import Tools

# A manifest may have hundreds of patterns, and all may be hostile.
_NOTES = 3


class Survey(NamedTuple):
    """The candidates, best first.

    `sizes` are bytes of the files of a source, or of a manifest's profile by its id, where known;
    `estimates` about as many, by source. `notes` say what else a person should know.
    """

    candidates: list[Candidate]
    order: Order
    judge: Judge
    sizes: Mapping[str, int | None]
    estimates: Mapping[str, int] = {}
    notes: tuple[str, ...] = ()

    def size_of(self, profile: Profile) -> int | None:
        """Bytes of all files that a profile is made of; None when that is not known."""
        return self.sizes.get(profile.source or profile.id)

    def estimate_of(self, profile: Profile) -> int | None:
        """About how many bytes those files have; None where nothing tells."""
        return self.estimates.get(profile.source or "")

    def matching(self, wish: Wish) -> list[Candidate]:
        """What a wish leaves, best first; see `choice.matching`."""
        return matching(self.candidates, wish, self.order)

    def narrowed(self, wish: Wish) -> "Survey":
        """The same with what was asked for alone; see `choice.asked_for`."""
        return self._replace(candidates=asked_for(self.candidates, wish)) if wish.narrows else self

    def choice(self, wish: Wish) -> Choice | None:
        """The candidate that a wish leads to; see `choice.choose`."""
        return choose(self.candidates, wish, self.order)

    def unbound(self, candidate: Candidate, wish: Wish) -> Candidate:
        """The candidate, judged for no GPU in particular where it is made for one that is not here.

        Why this machine cannot do what was asked for is then said of this machine. A profile that
        was named is what it is.
        """
        profile = candidate.profile
        if candidate.runs or wish.profile or profile.entry is not None or not profile.gpu:
            return candidate
        judged = self.judge.judge(msgspec.structs.replace(profile, gpu=None))
        return candidate if judged.runs else judged

    def understood(self, wish: Wish) -> Wish:
        """The wish with the id of the profile that it names as some NIM prints it."""
        found = named((one.profile for one in self.candidates), wish.profile or "")
        return msgspec.structs.replace(wish, profile=found[0].id) if len(found) == 1 else wish


def survey(
    model: Model,
    host: Host,
    tools: Tools,
    capacity: CapacityWish = ANY_CAPACITY,
    *,
    everywhere: bool = False,
    pulled: Sequence[FoundEngine] | None = None,
) -> Survey:
    """Judge the profiles of a model, with `everywhere` also those made for other GPUs.

    `pulled` are the engines among pulled files, where they are known already.
    """
    pulled = tuple(pulled_engines(tools)) if pulled is None else pulled
    profiles = profiles_of(model, PARTS if everywhere else parts_of(host))
    profiles = (*profiles, *profiles_of_nim(model.nim, pulled))
    pinned = _pinned(profiles, tools)
    built = builders.engines_here(tools, pulled).engines
    profiles = (*profiles, *built_profiles(profiles, pinned, built))
    judge = Judge(
        host,
        architecture=model.architecture,
        capacity=capacity,
        kv_caches=kv_caches_of(profiles, pinned, built),
    )
    judged = (judge.judge(one, cached=_is_cached(one, pinned, built, tools)) for one in profiles)
    return Survey(
        candidates=rank(judged, CATALOGUE_ORDER),
        order=CATALOGUE_ORDER,
        judge=judge,
        sizes={source: one.size if one else None for source, one in pinned.items()},
        estimates=download_estimates(model),
    )


def survey_manifest(
    manifest: NimManifest, host: Host, tools: Tools, capacity: CapacityWish = ANY_CAPACITY
) -> Survey:
    """Judge the profiles of a NIM manifest, in NIM's own order."""
    profiles = [profile_of(entry) for entry in manifest.profiles]
    patterns = {one.product_pattern for one in profiles if one.product_pattern}
    names = {gpu.name for gpu in host.gpus}
    found = try_patterns(patterns, names, python=tools.python) if names else {}
    untried = {one: result.problem for one, result in found.items() if result.problem}
    judge = Judge(
        host,
        architecture=_architecture(manifest, tools),
        capacity=capacity,
        covered=engines_for(profiles),
        names_product=lambda pattern, product: product in found[pattern].names,
        untried=untried,
    )
    pinned = {_place(artifact.reference) for artifact in tools.artifacts.all()}
    artifacts = {
        entry.id: _artifacts_of(entry, tools)
        for entry in manifest.profiles
        if any(_place(item.uri or "") in pinned for item in entry.workspace[:1])
    }
    cached = {id_ for id_, pinned in artifacts.items() if _are_whole(pinned, tools)}
    # The files of a buildable profile are no engine yet.
    candidates = (judge.judge(one, cached=one.id in cached and not one.build) for one in profiles)
    return Survey(
        candidates=rank(candidates, NIM_ORDER),
        order=NIM_ORDER,
        judge=judge,
        sizes={id_: _size(pinned) for id_, pinned in artifacts.items()},
        notes=tuple(_notes(untried)),
    )


def _notes(untried: Mapping[str, str]) -> Iterable[str]:
    for pattern, problem in itertools.islice(untried.items(), _NOTES):
        yield f"the pattern {pattern} is left out: {problem}"
    if (rest := len(untried) - _NOTES) > 0:
        yield f"{rest} more are left out; the profiles that have them say why"


def made_for_others(model: Model, host: Host) -> int:
    """How many profiles of a model are made for GPUs that the host has not."""
    return len(profiles_of(model, PARTS)) - len(profiles_of(model, parts_of(host)))


def _pinned(profiles: Iterable[Profile], tools: Tools) -> dict[str, Artifact | None]:
    sources = dict.fromkeys(profile.source for profile in profiles if profile.source)
    return {one: tools.artifacts.pinned(ModelRef.parse(one)) for one in sources}


def _is_cached(
    profile: Profile,
    pinned: Mapping[str, Artifact | None],
    built: Iterable[Engine],
    tools: Tools,
) -> bool:
    artifact = pinned.get(profile.source or "")
    if artifact is None or artifact.digest is None:
        return False
    if not profile.build:
        return tools.blobs.has_all(artifact.files)
    if profile.backend == "tensorrt_llm":
        found = (one for one in built if one.model_digest == artifact.digest)
        return any(stands_for(engine.recipe, profile) for engine in found)
    key = decide.recipe_for(profile, tools.builder.version).key(artifact.digest)
    return tools.engines.find(key) is not None


def _architecture(manifest: NimManifest, tools: Tools) -> Architecture | None:
    """That of the catalogue's model of the same name; NGC writes `_` for the dots of some."""
    name = (manifest.model or "").rpartition("/")[2].lower().replace("_", ".")
    return tools.catalog.find(name).architecture if name in tools.catalog.names() else None


def _place(address: str) -> str:
    """What the addresses of one version's files have in common, as references and manifests do."""
    whole = f"file://{address}" if address.startswith("/") else address
    return whole.partition("?")[0].replace("@", ":")


def _artifacts_of(entry: ManifestProfile, tools: Tools) -> Collection[Artifact | None]:
    """What is pinned of each source of a profile; nothing of one that nimctl cannot fetch."""
    try:
        sources = sources_of(entry)
    except (UsageError, VerificationError):
        return ()
    return [tools.artifacts.pinned(source.ref) for source in sources]


def _are_whole(pinned: Collection[Artifact | None], tools: Tools) -> bool:
    return bool(pinned) and all(
        one is not None and tools.blobs.has_all(one.files) for one in pinned
    )


def _size(pinned: Collection[Artifact | None]) -> int | None:
    sizes = [one.size for one in pinned if one is not None]
    known = [size for size in sizes if size is not None]
    return sum(known) if known and len(known) == len(pinned) else None
