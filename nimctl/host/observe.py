"""This machine as a Host."""

import platform
from pathlib import Path

from nimctl.core.machine import Host
from nimctl.host import embedded, memory, probe, processor
from nimctl.host.files import disk_free, text
from nimctl.host.probe import Sources


def observe(home: Path, sources: Sources | None = None) -> Host:
    """Read the machine; `home` is the directory whose disk counts.

    The container engine is not looked for here.
    """
    sources = sources or Sources()
    root = Path(sources.root)
    total, available = memory.observe(root)
    found = probe.look(sources, (total, available))
    return Host(
        system=platform.system().lower(),
        cpu=processor.observe(root),
        memory_total_bytes=total,
        memory_available_bytes=available,
        disk_free_bytes=disk_free(home),
        gpus=found.gpus,
        driver_version=found.driver_version,
        cuda_version=found.cuda_version,
        wsl="microsoft" in text(root / "proc/sys/kernel/osrelease").lower(),
        embedded=embedded.observe(),
        troubles=found.troubles,
    )
