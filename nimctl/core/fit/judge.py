"""The judge: which of four classes a profile is in on a host, and why."""

from collections.abc import Iterable, Mapping

from nimctl.core.architecture import Architecture
from nimctl.core.fit.cpu import try_on_cpu
from nimctl.core.fit.gpu import Engines, GpuTrials, NamesProduct
from nimctl.core.fit.trial import Trial
from nimctl.core.machine import Host
from nimctl.core.memory import ANY_CAPACITY, CapacityWish, Grade
from nimctl.core.profile import Candidate, Check, Fit, Profile
from nimctl.core.trtllm.prebuilt import is_prebuilt


def engines_for(profiles: Iterable[Profile]) -> Engines:
    """For which PCI devices a manifest has which engines ready, where others would be built."""
    return frozenset(
        (profile.gpu_device.partition(":")[0].lower(), profile.entry.variant)
        for profile in profiles
        if profile.gpu_device and profile.entry and profile.entry.is_speech and not profile.build
    )


def exactly(pattern: str, product: str) -> bool:
    """Take a regular expression for the name itself."""
    return pattern == product


class Judge:
    """Judges profiles of one model for one host.

    `architecture` is the model's, None when it is not known; `capacity` what was asked for.
    `covered` are those of `engines_for`. `names_product` tells whether a product matches
    the regular expression of a manifest; `untried` are those that it cannot tell of, and why.
    `kv_caches` are types of the KV cache by a profile's id, where an engine decided it.
    """

    def __init__(
        self,
        host: Host,
        *,
        architecture: Architecture | None = None,
        capacity: CapacityWish = ANY_CAPACITY,
        covered: Engines = frozenset(),
        names_product: NamesProduct = exactly,
        untried: Mapping[str, str] | None = None,
        kv_caches: Mapping[str, str] | None = None,
    ) -> None:
        self._host = host
        self._architecture = architecture
        self._capacity = capacity
        self._gpus = GpuTrials(
            host,
            architecture=architecture,
            capacity=capacity,
            covered=covered,
            names_product=names_product,
            untried=untried or {},
            kv_caches=kv_caches or {},
        )

    def judge(self, profile: Profile, *, cached: bool = False) -> Candidate:
        """Tell how well a profile fits, and why."""
        trial = self._try(profile)
        fit = trial.fit(build=profile.build and not cached)
        if fit is Fit.INCOMPATIBLE:
            # Most of a long manifest: only what the candidate needs.
            obstacle = trial.checks[-1].words
            return Candidate(profile=profile, fit=fit, cached=cached, reasons=(obstacle,))
        return Candidate(
            profile=profile,
            fit=fit,
            cached=cached,
            reasons=(*_reasons(profile, trial, fit, cached=cached), *self._beyond()),
            memory=trial.memory,
            gpus=trial.gpus,
        )

    def checks(self, profile: Profile) -> tuple[Check, ...]:
        """All that a profile was asked, up to the first check that it failed."""
        trial = self._try(profile)
        return (*trial.checks, trial.room) if trial.room else trial.checks

    def _beyond(self) -> Iterable[str]:
        """Backends stretch a context or refuse to; whichever, it is not what was trained."""
        asked = self._capacity.max_model_len
        if asked and self._architecture and asked > self._architecture.context_length:
            trained = self._architecture.context_length
            yield f"--max-model-len {asked} goes beyond the {trained} tokens it was trained for"

    def _try(self, profile: Profile) -> Trial:
        if profile.backend == "llama_cpp":
            return try_on_cpu(profile, self._host, self._architecture, self._capacity)
        return self._gpus.best(profile)


def _engine_words(profile: Profile, *, cached: bool) -> str:
    if cached:
        return "the engine is in the store"
    if profile.needs_texts:
        return "the engine is built by build-engine --calib FILE, since texts quantise it"
    return "the engine is built on first use"


def _reasons(profile: Profile, trial: Trial, fit: Fit, *, cached: bool) -> Iterable[str]:
    if fit is Fit.LOW_MEMORY and trial.room:
        yield trial.room.words
    elif profile.build:
        yield _engine_words(profile, cached=cached)
    elif is_prebuilt(profile) and not profile.is_bound:
        yield "nothing tells for which GPU it was built: build-engine --built-for GPU, once"
    if fit in (Fit.COMPATIBLE, Fit.BUILDABLE) and trial.memory is not None:
        memory = trial.memory
        if memory.grade is Grade.TIGHT and profile.backend != "llama_cpp":
            yield f"tight: room for {memory.kv_tokens:,} tokens in the KV cache"
