"""What a catalogue file says: a model, the ways to run it, and the NIM container for it."""

from typing import Literal

from nimctl.core.architecture import Architecture
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
    "image",
    "3d",
    "video",
    "biology",
    "medical",
]


class Variant(Value):
    """Profiles that differ by GPU, precision and tensor parallelism only.

    For TensorRT-LLM, or where `gpus` names keys of the GPU table, it stands for one profile on each
    GPU (none named means all of the table) in each of `precisions` that the GPU has, with the
    smallest `tp` that fits; where that is tight, for one more with the smallest that is not; and
    for low latency with the next. vLLM and SGLang are otherwise bound to no GPU: one profile for
    each precision and each `tp` that divides the attention heads. `source` is the checkpoint;
    `build` says that an engine is built from it.
    """

    backend: str
    precisions: tuple[str, ...]
    source: str
    build: bool = False
    gpus: tuple[str, ...] = ()
    lora: bool = False
    unverified: bool = False


class ApiPath(Value):
    """One HTTP path of a NIM; `unverified` where no document confirms it."""

    path: str
    unverified: bool = False


class Nim(Value):
    """The NIM container for a model; facts are from `source`.

    `ports` maps what is spoken (`http`, `grpc`) to the port inside. `selector` is the variable
    that chooses among the container's own variants, `selector_values` what it may say. Memory in
    GiB.
    """

    image: str
    source: str
    ports: dict[str, int]
    api: tuple[ApiPath, ...] = ()
    health_path: str = "/v1/health/ready"
    cache_path: str = "/opt/nim/.cache"
    shm_gib: float | None = None
    selector: str | None = None
    selector_values: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    key_variable: str = "NGC_API_KEY"
    ulimits: dict[str, int] = {}
    gpus: int = 1
    gpu_memory_gib: float | None = None
    compute_capability: str | None = None
    start_minutes: float | None = None
    notes: tuple[str, ...] = ()
    unverified: bool = False


class Model(Value):
    """A catalogue file. LLMs have an `architecture`, other families have `nim`.

    `architecture` is None also for a model that is known by its reference only.
    """

    schema_version: int = 1
    name: str
    title: str
    family: Family = "llm"
    license: str | None = None
    reference: str | None = None
    source: str | None = None
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
