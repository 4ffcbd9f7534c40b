"""The processor, as far as this process may use it."""

import os
import platform
from pathlib import Path

from nimctl.core.backends import X86_FEATURES
from nimctl.core.machine import Cpu
from nimctl.host.files import text


def observe(root: Path) -> Cpu:
    """Read /proc/cpuinfo, the affinity and the cgroup's quota."""
    fields: dict[str, str] = {}
    cores: set[tuple[str, str]] = set()
    package = ""
    for line in text(root / "proc/cpuinfo").splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        fields.setdefault(key, value)
        if key == "physical id":
            package = value
        elif key == "core id":
            cores.add((package, value))
    threads = _usable_threads(root)
    machine = platform.machine()
    features = set(fields.get("flags", fields.get("Features", "")).split())
    return Cpu(
        model=fields.get("model name") or platform.processor() or machine,
        architecture=machine,
        cores=max(1, min(len(cores) or threads, threads)),
        threads=threads,
        features=tuple(feature for feature in X86_FEATURES if feature in features),
    )


def _usable_threads(root: Path) -> int:
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        allowed = os.cpu_count() or 1
    quota, _, period = text(root / "sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        allowed = min(allowed, max(1, int(quota) // int(period)))
    return allowed
