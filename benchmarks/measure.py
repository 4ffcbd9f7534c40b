"""How benchmarks measure: CPU of whole processes, in turns, medians and ratios."""

import os
import platform
import resource
import socket
import statistics
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def cpu_ms(argv: Sequence[str | Path], environ: dict[str, str] | None = None) -> float:
    """User and system CPU of one run, children included, in milliseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env=environ)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def wall_s(action: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    began = time.monotonic()
    action()
    return time.monotonic() - began


def in_turns(candidates: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Median of each candidate, run A B C A B C …, so that a slow moment hits all."""
    figures: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, candidate in candidates.items():
            figures[name].append(candidate())
    return {name: statistics.median(values) for name, values in figures.items()}


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_healthy(port: int) -> bool:
    """Whether a server answers on /health."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def machine() -> str:
    """One line about the machine."""
    cpu = next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    )
    return f"{cpu}, {os.cpu_count()} threads, Python {platform.python_version()}"
