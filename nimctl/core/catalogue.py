"""What a catalogue file says: a model, the ways to run it, and the NIM container for it."""

from typing import Annotated, Literal

from msgspec import Meta

from nimctl.core.architecture import Architecture, Count, Url
from nimctl.core.profile import Profile
from nimctl.core.value import Value

Family = Literal[
    "llm",
    "vlm",
    "embedding",
    "reranking",
    "safety",
    "asr",
    "tts",
    "nmt",
    "ocr",
    "image",
    "3d",
    "video",
    "avatar",
    "biology",
    "medical",
]
Port = Annotated[int, Meta(ge=1, le=65535)]
Gib = Annotated[float, Meta(gt=0)]
Minutes = Annotated[float, Meta(gt=0)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
Words = Annotated[str, Meta(min_length=1)]


class Variant(Value):
    """Profiles that differ by GPU, precision and tensor parallelism only.

    For TensorRT-LLM, or where `gpus` names keys of the GPU table, it stands for one profile on each
    GPU (none named means all of the table) in each of `precisions` that the GPU has, with the
    smallest `tp` that fits; where that is tight, for one more with the smallest that is not; and
    for low latency with the next. vLLM and SGLang are otherwise bound to no GPU: one profile for
    each precision and each `tp` that divides the attention heads. `source` is the checkpoint;
    `build` says that an engine is built from it. `evidence` is a page that names the checkpoint or
    tells that the backend runs it.
    """

    backend: Words
    precisions: Annotated[tuple[str, ...], Meta(min_length=1)]
    source: Words
    build: bool = False
    gpus: tuple[str, ...] = ()
    lora: bool = False
    evidence: Url | None = None
    unverified: bool = False


class ApiPath(Value):
    """One HTTP path of a NIM; `unverified` where no document confirms it."""

    path: Annotated[str, Meta(pattern=r"^/\S*$")]
    unverified: bool = False


class Nim(Value):
    """The NIM container for a model; facts are from `source`, some from `more_sources`.

    `ports` maps what is spoken (`http`, `grpc`) to the port inside. `selector` is the variable
    that chooses among the container's own variants, `selector_values` what it may say. Memory in
    GiB; `gpu_memory_gib` is what a card of the documented size reports, 22 where that is 24 GB.
    """

    image: Words
    source: Url
    more_sources: tuple[Url, ...] = ()
    ports: dict[str, Port]
    api: tuple[ApiPath, ...] = ()
    health_path: Annotated[str, Meta(pattern=r"^/\S*$")] = "/v1/health/ready"
    cache_path: Annotated[str, Meta(pattern=r"^/\S*$")] = "/opt/nim/.cache"
    shm_gib: Gib | None = None
    selector: str | None = None
    selector_values: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    key_variable: str = "NGC_API_KEY"
    ulimits: dict[str, int] = {}
    gpus: Count = 1
    gpu_memory_gib: Gib | None = None
    compute_capability: Annotated[str, Meta(pattern=r"^\d{1,2}\.\d$")] | None = None
    start_minutes: Minutes | None = None
    notes: tuple[str, ...] = ()
    unverified: bool = False


class Model(Value):
    """A catalogue file. LLMs have an `architecture`, other families have `nim`.

    `architecture` is None also for a model that is known by its reference only. `source` is the
    page that title, licence and reference are from.
    """

    schema_version: Literal[1] = 1
    name: Name
    title: Words
    family: Family = "llm"
    license: str | None = None
    reference: str | None = None
    source: Url | None = None
    unverified: bool = False
    architecture: Architecture | None = None
    profiles: tuple[Profile, ...] = ()
    variants: tuple[Variant, ...] = ()
    nim: Nim | None = None

    @property
    def sources(self) -> frozenset[str]:
        """The references of all files that any of its profiles is made of."""
        of_profiles = (profile.source for profile in self.profiles)
        of_variants = (variant.source for variant in self.variants)
        return frozenset(one for one in (self.reference, *of_profiles, *of_variants) if one)
