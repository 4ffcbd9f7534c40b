"""Profiles: the ways to run a model, and what is said of one after it was judged."""

import hashlib
from enum import StrEnum, unique
from typing import Literal

from nimctl.core.machine import Gpu
from nimctl.core.memory import MemoryNeed
from nimctl.core.trtllm.families import UNQUANTISED
from nimctl.core.value import Value, canonical_json

# They serve weights as they are, or bring what they need.
_WITHOUT_ENGINE = ("vllm", "sglang", "pytorch", "onnx", "nim")


_MADE_FOR = frozenset({"model_type", "gpu", "gpu_device", "ampereplus"})


class ManifestEntry(Value):
    """How a NIM manifest has a profile: its own id and name, and every tag as it stands."""

    id: str
    name: str
    tags: dict[str, str]

    @property
    def is_speech(self) -> bool:
        """Whether it is of a Riva or Speech NIM, which have rules of their own."""
        return "model_type" in self.tags

    @property
    def is_rmir(self) -> bool:
        """Whether it is built on the GPU, for which such NIMs look only where no engine is."""
        return self.tags.get("model_type") == "rmir"

    @property
    def variant(self) -> frozenset[tuple[str, str]]:
        """What it is apart from the GPU and from who builds it: its model, mode, batch size."""
        return frozenset((tag, is_) for tag, is_ in self.tags.items() if tag not in _MADE_FOR)


class Profile(Value):
    """One way to run a model.

    `source` is the reference of the files that it is made of, None where its container brings its
    own; `build` says that an engine has to be built from them on this machine. `precision` is None
    where nothing says. `target` is `latency` or `throughput`. `runtime` is `pytorch` where
    TensorRT-LLM serves the checkpoint itself, without an engine.

    It is bound to a kind of GPU by `gpu` (a key of the GPU table, or NIM's tag), `gpu_device` (PCI
    device in hex, `20b2` or `20b2:10de`) or `product_pattern` (a regular expression on the
    product's name, `NVIDIA-A10`); `ampere_plus` lets an engine run on any GPU of compute capability
    8.0 and above, whatever it is bound to. `gpu_count` is how many GPUs it says it takes,
    `gpu_memory_bytes` how much of each, and `compute_capability` the least that it runs on.

    `evidence` is a page that names the source; `unverified` tells that nothing confirmed it.
    `entry` is what a NIM manifest says of it, None for profiles of the catalogue.
    """

    backend: str
    precision: str | None = None
    source: str | None = None
    build: bool = False
    tp: int = 1
    pp: int = 1
    target: str | None = None
    runtime: Literal["pytorch"] | None = None
    gpu: str | None = None
    gpu_device: str | None = None
    product_pattern: str | None = None
    ampere_plus: bool = False
    gpu_count: int | None = None
    gpu_memory_bytes: int | None = None
    compute_capability: str | None = None
    lora: bool = False
    lora_max_rank: int | None = None
    evidence: str | None = None
    unverified: bool = False
    entry: ManifestEntry | None = None

    @property
    def is_bound(self) -> bool:
        """Whether it is made for one kind of GPU."""
        return bool(self.gpu or self.gpu_device or self.product_pattern)

    @property
    def has_engine(self) -> bool:
        """Whether there are files made for a kind of hardware, and not weights alone."""
        return self.backend not in _WITHOUT_ENGINE and self.runtime != "pytorch"

    @property
    def needs_texts(self) -> bool:
        """Whether its engine is quantised here: that is measured with texts of the user's."""
        is_built = self.build and self.backend == "tensorrt_llm" and self.entry is None
        return is_built and self.precision not in UNQUANTISED

    @property
    def gpus_needed(self) -> int:
        """How many identical GPUs it takes."""
        return max(self.gpu_count or 1, self.tp * self.pp)

    @property
    def tags(self) -> dict[str, str]:
        """The profile as tag and value, all strings, as NIM manifests have it."""
        if self.entry is not None:
            return self.entry.tags
        tags = {
            "backend": self.backend,
            "gpu": self.gpu,
            "precision": self.precision,
            # Without a precision it is a container that divides the model by itself.
            "tp": str(self.tp) if self.precision else None,
            "pp": str(self.pp) if self.precision else None,
            "profile": self.target,
            "runtime": self.runtime,
            "number_of_gpus": str(self.gpu_count) if self.gpu_count else None,
            "feat_lora": "true" if self.lora else None,
        }
        return {tag: value for tag, value in tags.items() if value is not None}

    @property
    def name(self) -> str:
        """For example `llama_cpp-q8_0-tp1-pp1`; that of the manifest if it comes from one."""
        if self.entry is not None:
            return self.entry.name
        parts = (
            self.backend,
            self.gpu,
            self.precision,
            f"tp{self.tp}-pp{self.pp}" if self.precision else None,
            self.target,
            self.runtime,
            "lora" if self.lora else None,
        )
        return "-".join(part for part in parts if part)

    @property
    def id(self) -> str:
        """The manifest's id, or sha256 in hex of the canonical JSON of the sorted tags."""
        if self.entry is not None:
            return self.entry.id
        return hashlib.sha256(canonical_json(self.tags)).hexdigest()


@unique
class Fit(StrEnum):
    """How well a profile suits a host, best first."""

    COMPATIBLE = "compatible"
    BUILDABLE = "buildable"
    LOW_MEMORY = "low-memory"
    INCOMPATIBLE = "incompatible"


# Looked up once: Python 3.11 runs code for each access to a member of an enumeration, and there are
# thousands of candidates.
_RUNNING = (Fit.COMPATIBLE, Fit.BUILDABLE)


class Candidate(Value):
    """A profile as judged for one host, with the reasons, and the GPUs that it would run on.

    `cached` tells that its engine, or the files that it is served from, are in the store.
    """

    profile: Profile
    fit: Fit
    cached: bool
    reasons: tuple[str, ...] = ()
    memory: MemoryNeed | None = None
    gpus: tuple[Gpu, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether it runs here, after a build perhaps."""
        return self.fit in _RUNNING


class Check(Value):
    """One thing that a profile asks for, and whether this host has it; `words` give the figures."""

    name: str
    passed: bool
    words: str


class Wish(Value):
    """What narrows the choice: each None means any.

    `profile` is a name, an id, the beginning of an id, or `id (name)` as NIM prints it. `lora` asks
    for profiles that serve LoRA adapters; without it there is none of them. `gpus` asks for those
    that use as many. `named_by` is the option or variable that named the profile.
    """

    profile: str | None = None
    named_by: str = "--profile"
    backend: str | None = None
    precision: str | None = None
    target: str | None = None
    tags: dict[str, str] = {}
    lora: bool = False
    gpus: int | None = None

    @property
    def narrows(self) -> bool:
        """Whether some profiles are not meant, adapters apart."""
        return any((self.profile, self.backend, self.precision, self.target, self.tags))
