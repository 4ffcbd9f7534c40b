"""From candidates to the documents that `list-profiles` prints."""

from typing import TYPE_CHECKING

from nimctl.core.orders import why_after
from nimctl.core.profile_reports import (
    EngineState,
    ExplainedProfile,
    ListedModel,
    ListedProfile,
    LostTo,
    ManifestFacts,
    ProfileList,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nimctl.core.catalogue import Model
    from nimctl.core.choice import Choice
    from nimctl.core.machine import Host
    from nimctl.core.nim_manifest import FoundManifest
    from nimctl.core.profile import Candidate
    from nimctl.survey import Survey


def listed_profile(one: "Candidate", found: "Survey") -> ListedProfile:
    """One candidate."""
    profile = one.profile
    size = found.size_of(profile)
    return ListedProfile(
        id=profile.id,
        name=profile.name,
        tags=profile.tags,
        fit=one.fit,
        lora=profile.lora,
        reasons=one.reasons,
        memory=one.memory,
        source=profile.source,
        engine=_engine_state(one),
        gpus=tuple(gpu.uuid for gpu in one.gpus),
        gpu_memory_bytes=profile.gpu_memory_bytes,
        download_bytes=size,
        estimated_download_bytes=found.estimate_of(profile) if size is None else None,
        evidence=profile.evidence,
        unverified=profile.unverified,
    )


def listed_model(model: "Model", found: "Survey", choice: "Choice | None") -> ListedModel:
    """A model of the catalogue."""
    return ListedModel(
        model=model.name,
        title=model.title,
        family=model.family,
        license=model.license,
        selected=choice.candidate.profile.id if choice else None,
        why=choice.why if choice else None,
        profiles=tuple(listed_profile(one, found) for one in found.candidates),
        unverified=model.unverified,
    )


def listed_manifest(
    manifest: "FoundManifest", found: "Survey", choice: "Choice | None", host: "Host"
) -> ProfileList:
    """The profiles of a NIM manifest."""
    return ProfileList(
        host=host,
        model=name_of(manifest),
        selected=choice.candidate.profile.id if choice else None,
        why=choice.why if choice else None,
        profiles=tuple(listed_profile(one, found) for one in found.candidates),
        manifest=manifest_facts(manifest),
    )


def manifest_facts(manifest: "FoundManifest") -> ManifestFacts:
    """Where profiles are from."""
    return ManifestFacts(
        source=str(manifest.source),
        schema=manifest.manifest.schema,
        criteria=manifest.manifest.criteria,
        nim_version=manifest.nim_version,
        download_protocol=manifest.download_protocol,
    )


def name_of(manifest: "FoundManifest") -> str:
    """What its profiles are of: the model, or where the manifest is."""
    return manifest.manifest.model or str(manifest.source)


def explained(
    one: "Candidate", found: "Survey", choice: "Choice | None", host: "Host", name: str
) -> ExplainedProfile:
    """One candidate with all that was asked of it, and where it stands among the others."""
    return ExplainedProfile(
        host=host,
        model=name,
        profile=listed_profile(one, found),
        checks=found.judge.checks(one.profile),
        position=found.candidates.index(one) + 1,
        of=len(found.candidates),
        selected=choice is not None and choice.candidate == one,
        lost_to=tuple(_lost_to(one, found, choice)),
    )


def _lost_to(one: "Candidate", found: "Survey", choice: "Choice | None") -> "Iterator[LostTo]":
    ahead = found.candidates[: found.candidates.index(one)]
    nearest = ahead[-1:]
    if choice and choice.candidate in ahead[:-1]:
        nearest = [choice.candidate, *nearest]
    for other in nearest:
        lost = why_after(one, other, found.order)
        if lost:
            yield LostTo(
                profile=other.profile.name, rule=lost.rule, winner=lost.winner, loser=lost.loser
            )


def _engine_state(one: "Candidate") -> EngineState:
    if one.cached:
        return "cached"
    if one.profile.build:
        return "to build"
    return "prebuilt" if one.profile.has_engine else "none"
