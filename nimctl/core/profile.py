"""Profiles: the ways to run a model, and how one is recognised, judged and chosen."""

import hashlib
from collections.abc import Iterable
from enum import StrEnum, unique
from typing import Literal

from nimctl.core.backends import X86_FEATURES
from nimctl.core.errors import NotFoundError, UsageError
from nimctl.core.machine import Host
from nimctl.core.memory import MemoryNeed
from nimctl.core.value import Value, canonical_json

# Decoding is bound by memory bandwidth, so fewer bytes per weight come first: a 250 M parameter
# Llama on two EPYC cores decoded 48 tokens/s in q8_0 and 42 in f16.
# Four bits cost quality, so they come last.
_PRECISION_ORDER = ("q8_0", "f16", "bf16", "f32", "q4_k_m")


class ManifestEntry(Value):
    """How a NIM manifest has a profile: its own id and name, and every tag as it stands."""

    id: str
    name: str
    tags: dict[str, str]


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


class Candidate(Value):
    """A profile as judged for one host, with the reasons."""

    profile: Profile
    fit: Fit
    cached: bool
    reasons: tuple[str, ...] = ()
    memory: MemoryNeed | None = None


class Wish(Value):
    """What narrows the choice: each None means any."""

    profile: str | None = None
    backend: str | None = None
    precision: str | None = None


def judge(profile: Profile, host: Host, memory: MemoryNeed | None, *, cached: bool) -> Candidate:
    """Tell how well a profile fits a host, and why."""
    obstacles = [*_misfits(profile, host)]
    if obstacles:
        fit, reasons = Fit.INCOMPATIBLE, obstacles
    elif memory and memory.total_bytes > host.memory_available_bytes:
        fit, reasons = Fit.LOW_MEMORY, [_shortage(memory, host)]
    elif profile.build and not cached:
        fit, reasons = Fit.BUILDABLE, ["the engine is built on first use"]
    else:
        fit, reasons = Fit.COMPATIBLE, ["the engine is in the store"] if cached else []
    return Candidate(profile=profile, fit=fit, cached=cached, reasons=tuple(reasons), memory=memory)


def rank(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Sort by fit, then what is cached, then precision; the order of the input never matters."""
    fits = list(Fit)
    return sorted(
        candidates,
        key=lambda one: (
            fits.index(one.fit),
            not one.cached,
            _precision_rank(one.profile.precision),
            one.profile.name,
            one.profile.source,
        ),
    )


def matching(candidates: Iterable[Candidate], wish: Wish) -> list[Candidate]:
    """Keep what the user asked for, best first.

    Raises:
        NotFoundError: A profile was named that is not among them.
        UsageError: Nothing has the backend or precision asked for.
    """
    ranked = rank(candidates)
    if wish.profile:
        named = [one for one in ranked if _is_named(one.profile, wish.profile)]
        if not named:
            raise NotFoundError(
                f"there is no profile `{wish.profile}`",
                cause="there are " + ", ".join(one.profile.name for one in ranked),
                hint="nimctl list-profiles MODEL",
            )
        ranked = named
    for field, value in (("backend", wish.backend), ("precision", wish.precision)):
        if value:
            there = {str(getattr(one.profile, field)) for one in ranked}
            ranked = [one for one in ranked if getattr(one.profile, field) == value]
            if not ranked:
                raise UsageError(
                    f"no profile has {field} {value}", cause="there is " + ", ".join(sorted(there))
                )
    return ranked


def _misfits(profile: Profile, host: Host) -> Iterable[str]:
    cpu = host.cpu
    if cpu.architecture not in ("x86_64", "aarch64", "arm64"):
        yield f"{profile.backend} has no build for {cpu.architecture}"
    if cpu.architecture == "x86_64":
        missing = [feature for feature in X86_FEATURES if feature not in cpu.features]
        if missing:
            yield f"{profile.backend} needs a CPU with {', '.join(missing)}; {cpu.model} has none"


def _shortage(memory: MemoryNeed, host: Host) -> str:
    short = (memory.total_bytes - host.memory_available_bytes) / 2**30
    need, free = memory.total_bytes / 2**30, host.memory_available_bytes / 2**30
    remedy = ""
    if memory.fitting_context:
        remedy = f"; --max-model-len {memory.fitting_context} --max-num-seqs 1 would fit"
    return f"needs {need:.1f} GiB, {free:.1f} GiB are free: short of {short:.1f} GiB{remedy}"


def _precision_rank(precision: str | None) -> int:
    if precision not in _PRECISION_ORDER:
        return len(_PRECISION_ORDER)
    return _PRECISION_ORDER.index(precision)


def _is_named(profile: Profile, name: str) -> bool:
    shortest = 8
    return profile.name == name or (len(name) >= shortest and profile.id.startswith(name))
