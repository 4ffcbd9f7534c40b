"""What llama.cpp asks of a host."""

from collections.abc import Iterator

from nimctl.core.architecture import Architecture
from nimctl.core.backends import X86_FEATURES
from nimctl.core.fit.trial import Trial
from nimctl.core.machine import Host
from nimctl.core.memory import CapacityWish, MemoryNeed, default_capacity, memory_need
from nimctl.core.profile import Check, Profile

GIB = 2**30


def try_on_cpu(
    profile: Profile, host: Host, architecture: Architecture | None, capacity: CapacityWish
) -> Trial:
    """Try a profile on the processor."""
    available = host.memory_available_bytes
    room = default_capacity(architecture, available, capacity)
    need = memory_need(architecture, profile.precision, room, available)
    return Trial(
        checks=tuple(_checks(profile, host)),
        room=_room(need, available),
        memory=need,
    )


def _checks(profile: Profile, host: Host) -> Iterator[Check]:
    cpu = host.cpu
    built = cpu.architecture in ("x86_64", "aarch64", "arm64")
    yield Check(
        name="processor",
        passed=built,
        words=f"{profile.backend} has {'a' if built else 'no'} build for {cpu.architecture}",
    )
    if cpu.architecture == "x86_64":
        missing = [feature for feature in X86_FEATURES if feature not in cpu.features]
        needed = f"{profile.backend} needs a CPU with {', '.join(missing or X86_FEATURES)}"
        yield Check(
            name="instructions",
            passed=not missing,
            words=f"{needed}; {cpu.model} has {'none' if missing else 'them'}",
        )


def _room(need: MemoryNeed | None, available: int) -> Check:
    if need is None:
        return Check(name="memory", passed=True, words="how much memory it needs is not known")
    figures = f"needs {need.total_bytes / GIB:.1f} GiB, {available / GIB:.1f} GiB are free"
    short = need.total_bytes - available
    if short <= 0:
        return Check(name="memory", passed=True, words=figures)
    fitting = need.fitting_context
    remedy = f": --max-model-len {fitting} --max-num-seqs 1 would fit" if fitting else ""
    words = f"short of {short / GIB:.1f} GiB{remedy} ({figures})"
    return Check(name="memory", passed=False, words=words)
