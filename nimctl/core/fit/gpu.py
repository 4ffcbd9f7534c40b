"""What a profile asks of GPUs, check by check.

It is tried on each group of identical GPUs, and the best is taken: another GPU in the machine never
makes it worse. (NIM itself finds nothing compatible on a mixed host.)
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple

import msgspec

from nimctl.core.architecture import Architecture
from nimctl.core.fit.groups import (
    GpuGroup,
    by_room,
    free_bytes,
    groups_of,
    inventory,
    pick,
    short_name,
    used_share,
)
from nimctl.core.fit.precision import is_built_for, is_refused, range_of
from nimctl.core.fit.trial import Trial
from nimctl.core.gpus import means, part_of
from nimctl.core.machine import Gpu, Host, capability_of
from nimctl.core.memory import (
    TENSOR_PARALLEL,
    CapacityWish,
    GpuShare,
    Grade,
    MemoryNeed,
    default_limits,
    gpu_memory_need,
)
from nimctl.core.memory.gpu import KV_PERCENT, KV_PERCENT_WITH_DISPLAY
from nimctl.core.profile import Check, Fit, Profile
from nimctl.core.trtllm.prebuilt import is_prebuilt

GIB = 2**30
# NIM 1.0 called a GPU with 7 % of its memory in use non-free, and one with 3 % free. Where between
# them its threshold lies is not documented; this is the middle.
BUSY_SHARE = 0.05
_AMPERE = (8, 0)
_ADA = (8, 9)
_NVIDIA = "10de"
_FITS = {fit: place for place, fit in enumerate(Fit)}
_GRADES = {grade: place for place, grade in enumerate(Grade)}

# PCI devices, and what is ready for them: see `ManifestEntry.variant`.
Engines = frozenset[tuple[str, frozenset[tuple[str, str]]]]
# Whether the regular expression of a manifest means a GPU of this name.
NamesProduct = Callable[[str, str], bool]


class _Room(NamedTuple):
    """What was found about memory."""

    room: Check
    memory: MemoryNeed | None
    gpus: tuple[Gpu, ...]

    def trial(self, checks: tuple[Check, ...]) -> Trial:
        return Trial(checks=checks, room=self.room, memory=self.memory, gpus=self.gpus)


class _Kinds(NamedTuple):
    """Whether what a profile is made for is there: a check a group, a trial if it is nowhere."""

    checks: tuple[Check, ...]
    elsewhere: Trial | None


class GpuTrials:
    """Tries profiles on the GPUs of a host; a question that was answered is not asked again."""

    def __init__(
        self,
        host: Host,
        *,
        architecture: Architecture | None,
        capacity: CapacityWish,
        covered: Engines,
        names_product: NamesProduct,
        untried: Mapping[str, str],
        kv_caches: Mapping[str, str],
    ) -> None:
        self.groups = groups_of(host)
        self._inventory = inventory(self.groups)
        self._host = host
        self._architecture = architecture
        self._capacity = capacity
        self._covered = covered
        self._names_product = names_product
        self._untried = untried
        self._kv_caches = kv_caches
        self._kinds: dict[tuple[object, ...], _Kinds] = {}
        self._trials: dict[tuple[object, ...], Trial] = {}

    def best(self, profile: Profile) -> Trial:
        """Try a profile on each group; the trial that went best."""
        made_for = _made_for(profile)
        if made_for not in self._kinds:
            self._kinds[made_for] = self._judge_kinds(profile)
        kinds = self._kinds[made_for]
        # Most of a long manifest is made for other GPUs, and then nothing else matters.
        if kinds.elsewhere is not None:
            return kinds.elsewhere
        asked = (*_asked(profile), self._kv_cache(profile))
        if asked not in self._trials:
            trials = (
                self._try(profile, group, kind)
                for group, kind in zip(self.groups, kinds.checks, strict=True)
            )
            self._trials[asked] = min(trials, key=_order)
        return self._trials[asked]

    def _judge_kinds(self, profile: Profile) -> "_Kinds":
        if not self.groups:
            return _Kinds((), Trial(checks=(_no_gpu(profile),)))
        checks = tuple(self._judge_kind(profile, group) for group in self.groups)
        meant = any(check.passed for check in checks)
        return _Kinds(checks, None if meant else Trial(checks=checks[:1]))

    def _try(self, profile: Profile, group: GpuGroup, kind: Check) -> Trial:
        checks = []
        for check in chain((kind,), self._checks(profile, group)):
            checks.append(check)
            if not check.passed:
                return Trial(checks=tuple(checks))
        return self._find_room(profile, group, tuple(checks))

    def _checks(self, profile: Profile, group: GpuGroup) -> Iterator[Check]:
        yield from _capability(profile, group.kind)
        yield from _precision(profile, group.kind)
        yield from self._heads(profile)
        yield self._count(profile, group)
        yield from self._engine(profile, group)

    def _judge_kind(self, profile: Profile, group: GpuGroup) -> Check:
        kind = group.kind
        if not profile.is_bound:
            # Who takes such an engine is asked.
            untold = is_prebuilt(profile)
            words = f"made for {'a GPU that nothing tells' if untold else 'no GPU in particular'}"
            return Check(name="GPU", passed=True, words=words)
        made = f"made for {_bound_to(profile)}"
        if self._is_meant(profile, kind):
            return Check(name="GPU", passed=True, words=f"{made}, which {short_name(kind)} is")
        if profile.ampere_plus and kind.capability >= _AMPERE:
            words = f"{made}, and runs on all of compute capability 8.0 and above"
            return Check(name="GPU", passed=True, words=words)
        words = f"{made}, this host has {self._inventory}"
        if problem := self._untried.get(profile.product_pattern or ""):
            words = f"{made}: the pattern is left out, {problem}"
        return Check(name="GPU", passed=False, words=words)

    def _is_meant(self, profile: Profile, gpu: Gpu) -> bool:
        if profile.product_pattern and not gpu.mig_profile:
            return self._names_product(profile.product_pattern, gpu.name)
        device = profile.gpu_device
        if device and ":" not in device:
            device = f"{device}:{_NVIDIA}"
        return means(gpu, tag=profile.gpu, device=device)

    def _heads(self, profile: Profile) -> Iterator[Check]:
        if self._architecture is not None and profile.tp > 1:
            heads = self._architecture.heads
            divides = heads % profile.tp == 0
            words = f"tp {profile.tp} {'divides' if divides else 'does not divide'} {heads} heads"
            yield Check(name="tensor parallelism", passed=divides, words=words)

    def _count(self, profile: Profile, group: GpuGroup) -> Check:
        count, there = profile.gpus_needed, len(group.gpus)
        if group.kind.mig_profile and count > 1:
            words = f"needs {count} GPUs, and a process sees only one MIG slice"
            return Check(name="count", passed=False, words=words)
        if there >= count:
            words = f"takes {count} of {there} {short_name(group.kind)}"
            return Check(name="count", passed=True, words=words)
        words = f"needs {count} identical GPUs, this host has {self._inventory}"
        return Check(name="count", passed=False, words=words)

    def _engine(self, profile: Profile, group: GpuGroup) -> Iterator[Check]:
        if profile.entry is None or not profile.entry.is_rmir:
            return
        device = group.kind.pci_device.partition(":")[0].lower()
        covered = (device, profile.entry.variant) in self._covered
        words = "the manifest has no engine of it for this GPU, so one is built"
        if covered:
            words = (
                "the manifest has an engine of it for this GPU; a NIM builds only where it has none"
            )
        yield Check(name="engine", passed=not covered, words=words)

    def _find_room(self, profile: Profile, group: GpuGroup, checks: tuple[Check, ...]) -> Trial:
        rooms = [self._room(each, group) for each in self._as_served(profile, group)]
        return next((one for one in rooms if one.room.passed), rooms[-1]).trial(checks)

    def _as_served(self, profile: Profile, group: GpuGroup) -> list[Profile]:
        """The ways in which it may be served: one, unless its container chooses by itself.

        An LLM's NIM is reckoned in the precision that its profiles usually have, divided over as
        few GPUs as hold it; what it will choose is known from its manifest only.
        """
        chooses = profile.backend == "nim" and profile.entry is None
        if not chooses or self._architecture is None or profile.gpu_memory_bytes is not None:
            return [profile]
        most = 1 if group.kind.mig_profile else len(group.gpus)
        return [
            msgspec.structs.replace(
                profile, tp=tp, precision="fp8" if group.kind.capability >= _ADA else "bf16"
            )
            for tp in TENSOR_PARALLEL
            if profile.gpus_needed <= tp <= most and self._architecture.heads % tp == 0
        ] or [profile]

    def _room(self, profile: Profile, group: GpuGroup) -> "_Room":
        count = profile.gpus_needed
        chosen = pick(group, count, lambda gpu: self._suits(profile, gpu))
        gpus = chosen or tuple(by_room(group, self._host)[:count])
        scarcest = min(gpus, key=lambda gpu: free_bytes(gpu, self._host) or 0)
        need = self._need(profile, scarcest)
        words = self._words(profile, scarcest, need, suits=chosen is not None)
        if profile.backend == "nim" and profile.precision:
            words = f"reckoned in {profile.precision} on {count} of them: {words}"
        return _Room(Check(name="memory", passed=chosen is not None, words=words), need, gpus)

    def _suits(self, profile: Profile, gpu: Gpu) -> bool:
        free = free_bytes(gpu, self._host)
        if profile.gpu_memory_bytes is not None:
            return free is None or free >= profile.gpu_memory_bytes
        if _wants_idle(profile) and used_share(gpu) >= BUSY_SHARE:
            return False
        need = self._need(profile, gpu)
        return need is None or free is None or need.total_bytes <= free

    def _need(self, profile: Profile, gpu: Gpu) -> MemoryNeed | None:
        free = free_bytes(gpu, self._host)
        if self._architecture is None or free is None:
            return None
        share = GpuShare(
            backend=profile.backend,
            precision=profile.precision,
            tp=profile.tp,
            pp=profile.pp,
            kv_cache=self._kv_cache(profile),
        )
        total = gpu.memory_total_bytes or free
        limits = default_limits(self._architecture, total, self._capacity, tp=profile.tp)
        percent = KV_PERCENT_WITH_DISPLAY if gpu.drives_display else KV_PERCENT
        return gpu_memory_need(self._architecture, share, limits, free, kv_percent=percent)

    def _kv_cache(self, profile: Profile) -> str | None:
        # An id is a digest, of thousands of profiles in a long manifest.
        return self._kv_caches.get(profile.id) if self._kv_caches else None

    def _words(self, profile: Profile, gpu: Gpu, need: MemoryNeed | None, *, suits: bool) -> str:
        free = free_bytes(gpu, self._host)
        name = short_name(gpu)
        required = profile.gpu_memory_bytes or (need.total_bytes if need else None)
        if required is None or free is None:
            if suits:
                return "how much memory it needs is not known"
            return _busy(gpu)
        figures = (
            f"needs {required / GIB:.1f} GiB of each GPU, {name} has {free / GIB:.1f} GiB free"
        )
        if suits:
            return figures
        if free >= required:
            return _busy(gpu)
        short = f"short of {(required - free) / GIB:.1f} GiB"
        return f"{short}{self._remedy(profile, gpu, need)} ({figures})"

    def _remedy(self, profile: Profile, gpu: Gpu, need: MemoryNeed | None) -> str:
        """What would help: a shorter context, or else more GPUs of this kind."""
        if need is None or profile.gpu_memory_bytes is not None:
            return ""
        if need.fitting_context:
            return f": --max-model-len {need.fitting_context} would fit"
        if gpu.mig_profile is not None:
            return ": a larger MIG slice, or the whole GPU"
        part = part_of(gpu)
        if part is not None and part.comes_alone:
            return ""
        for tp in TENSOR_PARALLEL:
            if tp > profile.tp and self._suits(msgspec.structs.replace(profile, tp=tp), gpu):
                return f": {tp * profile.pp} such GPUs would hold it"
        return ""


def _made_for(profile: Profile) -> tuple[object, ...]:
    """What binds a profile to a GPU."""
    return profile.gpu, profile.gpu_device, profile.product_pattern, profile.ampere_plus


def _asked(profile: Profile) -> tuple[object, ...]:
    """All of a profile that a trial depends on."""
    entry = profile.entry
    return (
        *_made_for(profile),
        profile.backend,
        profile.precision,
        profile.runtime,
        profile.tp,
        profile.pp,
        profile.gpu_count,
        profile.gpu_memory_bytes,
        profile.compute_capability,
        entry is not None,
        entry is not None and entry.is_rmir and entry.variant,
    )


def _order(trial: Trial) -> tuple[int, int, int, int]:
    fit = _FITS[trial.fit(build=False)]
    memory = trial.memory
    if memory is None:
        return fit, -len(trial.checks), 0, 0
    grade = _GRADES[memory.grade] if memory.grade else 0
    return fit, -len(trial.checks), grade, -memory.kv_tokens


def _no_gpu(profile: Profile) -> Check:
    asks = f"made for {_bound_to(profile)}" if profile.is_bound else "needs an NVIDIA GPU"
    return Check(name="GPU", passed=False, words=f"{asks}, this host has no NVIDIA GPU")


def _bound_to(profile: Profile) -> str:
    where = profile.gpu or profile.product_pattern
    device = f"PCI device {profile.gpu_device}" if profile.gpu_device else None
    return f"{where} ({device})" if where and device else where or device or ""


def _capability(profile: Profile, gpu: Gpu) -> Iterator[Check]:
    if profile.compute_capability is not None:
        passed = gpu.capability >= capability_of(profile.compute_capability)
        words = (
            f"needs compute capability {profile.compute_capability}, "
            f"{short_name(gpu)} has {gpu.compute_capability}"
        )
        yield Check(name="compute capability", passed=passed, words=words)


def _precision(profile: Profile, gpu: Gpu) -> Iterator[Check]:
    if profile.entry is not None and profile.is_bound:
        return  # An engine that was built for this GPU runs on it.
    what = profile.precision or profile.backend
    allowed = range_of(profile)
    if allowed is None:
        words = f"{profile.backend} does not serve {what}"
        yield Check(name="precision", passed=False, words=words)
        return
    if not is_built_for(profile, gpu.capability):
        words = f"{profile.backend} is not built for {short_name(gpu)} ({gpu.compute_capability})"
        yield Check(name="precision", passed=False, words=words)
        return
    if is_refused(profile, gpu.capability):
        words = f"{profile.backend} builds no {what} engines for {short_name(gpu)}"
        yield Check(name="precision", passed=False, words=words)
        return
    least, below = allowed
    has = f"{short_name(gpu)} has {gpu.compute_capability}"
    if gpu.capability >= below:
        words = f"{what} needs a compute capability below {below[0]}.{below[1]}, {has}"
        yield Check(name="precision", passed=False, words=words)
    elif least > (0, 0):
        words = f"{what} needs compute capability {least[0]}.{least[1]}, {has}"
        yield Check(name="precision", passed=gpu.capability >= least, words=words)


def _busy(gpu: Gpu) -> str:
    used = used_share(gpu) * 100
    return f"needs an idle GPU: {used:.0f} % of the memory of {short_name(gpu)} is in use"


def _wants_idle(profile: Profile) -> bool:
    """NIM's containers for LLMs refuse a GPU in use; those for speech do not look."""
    return profile.entry is not None and not profile.entry.is_speech
