"""Recorded listings of real NIM containers: tests/data/nim_listings.json, each with its source.

The file tells what each field means. Names are read as NIM writes them; for Riva it has tags.
"""

import json
import re
from pathlib import Path
from typing import Any

from machines import gpu, host

from nimctl.core.gpus import by_device
from nimctl.core.machine import Gpu, Host
from nimctl.core.nim_manifest import ManifestProfile
from nimctl.core.nim_profiles import profile_of
from nimctl.core.profile import Profile

_DOCUMENT = json.loads((Path(__file__).parent.parent / "data" / "nim_listings.json").read_text())
LISTINGS: list[dict[str, Any]] = _DOCUMENT["examples"]
CLASSES = (
    "compatible",
    "compatible_lora",
    "low_memory",
    "low_memory_lora",
    "compilable",
    "incompatible",
)
_TARGETS = ("latency", "throughput")


def tags_of(name: str) -> dict[str, str]:
    """The tags that a name of NIM 1.0 to 1.8 stands for; it does not tell the PCI device."""
    engine, *words = name.split("-")
    tags = {"llm_engine": engine}
    for word in words:
        if parallel := re.fullmatch(r"(tp|pp)(\d+)", word):
            tags[parallel[1]] = parallel[2]
        elif word in _TARGETS:
            tags["profile"] = word
        elif word == "lora":
            tags["feat_lora"] = "true"
        elif word == "trtllm_buildable":
            tags["trtllm_buildable"] = "true"
        elif re.fullmatch(r"(bf|fp|nvfp|mxfp|int)\d+.*", word):
            tags["precision"] = word
        else:
            tags["gpu"] = word
    return tags


def profile_in(row: dict[str, Any]) -> Profile:
    """The profile of a printed row."""
    tags = row.get("tags") or tags_of(row["name"])
    return profile_of(ManifestProfile(id=row.get("id", row.get("name", "")), tags=tags))


def host_of(listing: dict[str, Any], *indices: int) -> Host:
    """The machine of a listing, or some of its GPUs, with as much memory in use as was printed."""
    several = [_gpu(one) for one in listing["gpus"]]
    return host(*(one for one in several if not indices or one.index in indices))


def _gpu(printed: dict[str, Any]) -> Gpu:
    if "pci" not in printed:
        # All that is said is a compute capability below 8.0.
        return gpu("t4", printed["index"])
    (part, *_) = by_device(printed["pci"])
    assert part.memory_bytes is not None
    used = part.memory_bytes / 2**30 * printed["utilization_pct"] / 100
    return gpu(part.key, printed["index"], used_gib=used)
