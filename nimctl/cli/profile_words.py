"""What the listings of profiles have in common, in at most 80 columns."""

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nimctl.cli.units import about, size
from nimctl.core.fit.groups import free_bytes, groups_of, short_name

if TYPE_CHECKING:
    from nimctl.core.fit.groups import GpuGroup
    from nimctl.core.machine import Host
    from nimctl.core.profile_reports import ListedProfile

COLUMNS = 80
UNKNOWN = "-"


def wrapped(text: str, indent: str = "") -> list[str]:
    """Lines of at most 80 columns, each with an indent."""
    return textwrap.wrap(
        text,
        COLUMNS,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def host_lines(host: "Host") -> Iterator[str]:
    """The GPUs with their free memory, or that there is none; and the processor."""
    groups = groups_of(host)
    for group in groups:
        yield from wrapped(_group(group, host))
    cpu = f"{host.cpu.model}, {host.cpu.cores} cores, {size(host.memory_available_bytes)} free"
    if host.planned:
        memory = size(host.memory_available_bytes)
        cpu = f"beside them, as an assumption: {host.cpu.cores} cores, {memory} of memory"
    yield from wrapped(cpu if groups else f"no NVIDIA GPU; {cpu}")


def memory_needed(profile: "ListedProfile") -> int | None:
    """Bytes that it needs of each GPU, or of the memory; None where nobody knows."""
    if profile.gpu_memory_bytes is not None:
        return profile.gpu_memory_bytes
    return profile.memory.total_bytes if profile.memory else None


def to_download(profile: "ListedProfile") -> str | None:
    """Bytes of its files, an estimate marked by `~`; None where nobody knows."""
    if profile.download_bytes is not None:
        return size(profile.download_bytes)
    estimate = profile.estimated_download_bytes
    return None if estimate is None else about(estimate)


def _group(group: "GpuGroup", host: "Host") -> str:
    free = [free_bytes(gpu, host) for gpu in group.gpus]
    known = sorted({one for one in free if one is not None})
    words = f"{len(group.gpus)} {short_name(group.kind)}"
    if not known:
        return words
    least, most = size(known[0]), size(known[-1])
    each = " each" if len(group.gpus) > 1 else ""
    return f"{words}, {least if least == most else f'{least} to {most}'} free{each}"
