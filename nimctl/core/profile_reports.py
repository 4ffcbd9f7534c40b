"""What `list-profiles` prints with `--json`: one class a document."""

from typing import Literal

from nimctl.core.catalogue import Family, Nim
from nimctl.core.machine import Host
from nimctl.core.memory import MemoryNeed
from nimctl.core.profile import Check, Fit
from nimctl.core.value import Value

# `cached`: in the store; `prebuilt`: to be fetched; `to build`: to be fetched and built; `none`: to
# be fetched, weights that are served as they are.
EngineState = Literal["cached", "prebuilt", "to build", "none"]


class ListedProfile(Value):
    """A profile as judged for a host.

    `memory` is needed of each GPU, or of the host without one; `gpus` are UUIDs of those it would
    run on. `download_bytes` are all bytes of its files, None when that is not known: before a
    first pull. `estimated_download_bytes` is then about as much, from the number of parameters and
    the precision of the files; None where there is an exact size, or nothing to reckon with.
    `evidence` is a page that tells of it.
    """

    id: str
    name: str
    tags: dict[str, str]
    fit: Fit
    lora: bool
    reasons: tuple[str, ...]
    memory: MemoryNeed | None
    source: str | None
    engine: EngineState
    gpus: tuple[str, ...] = ()
    gpu_memory_bytes: int | None = None
    download_bytes: int | None = None
    estimated_download_bytes: int | None = None
    evidence: str | None = None
    unverified: bool = False


class ListedModel(Value):
    """A model's profiles, best first, and the id of the one that `serve` would take, with why."""

    model: str
    title: str
    family: Family
    license: str | None
    selected: str | None
    why: str | None
    profiles: tuple[ListedProfile, ...]
    unverified: bool = False


class ManifestFacts(Value):
    """The NIM manifest that profiles are from.

    `nim_version` and `download_protocol` are from labels of its image, None where there are none.
    """

    source: str
    schema: str
    criteria: str | None
    nim_version: str | None
    download_protocol: str | None


class ProfileList(Value):
    """What `list-profiles MODEL` prints.

    `selected` is the id of the profile that would be taken, `why` by which rule. `others` counts
    profiles that are left out because they are made for GPUs that this host has not. `manifest`
    is None for the catalogue.
    """

    schema_version: int = 1
    host: Host
    model: str
    selected: str | None
    why: str | None
    profiles: tuple[ListedProfile, ...]
    others: int = 0
    manifest: ManifestFacts | None = None


class CatalogueList(Value):
    """What `list-profiles` prints without a model."""

    schema_version: int = 1
    host: Host
    models: tuple[ListedModel, ...]


class LostTo(Value):
    """A profile that comes before another, by which rule, and what each of the two has."""

    profile: str
    rule: str
    winner: str
    loser: str


class ExplainedProfile(Value):
    """What `list-profiles --explain` prints.

    `checks` end with the first that failed. `position` counts from 1 among all `of` profiles that
    this model or manifest has here. `lost_to` is the chosen profile, and the one just before. `nim`
    is what the catalogue says of the container, where the profile is one.
    """

    schema_version: int = 1
    host: Host
    model: str
    profile: ListedProfile
    checks: tuple[Check, ...]
    position: int
    of: int
    selected: bool
    lost_to: tuple[LostTo, ...]
    manifest: ManifestFacts | None = None
    nim: Nim | None = None
