"""The memory that this process may use."""

from pathlib import Path

from nimctl.host.files import text


def observe(root: Path) -> tuple[int, int]:
    """Total and available bytes, by /proc/meminfo and the cgroup's limit."""
    fields = {
        line.partition(":")[0]: int(line.split()[1]) * 1024
        for line in text(root / "proc/meminfo").splitlines()
        if line.endswith("kB")
    }
    total = fields.get("MemTotal", 0)
    available = fields.get("MemAvailable", total)
    cgroup = root / "sys/fs/cgroup"
    limit = text(cgroup / "memory.max").strip()
    if limit.isdigit():
        used = int(text(cgroup / "memory.current").strip() or 0)
        total = min(total, int(limit))
        available = min(available, max(0, int(limit) - used))
    return total, available
