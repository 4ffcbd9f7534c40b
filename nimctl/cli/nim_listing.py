"""A NIM's profiles as its own `list-model-profiles` prints them, with reasons.

Headings and their order: https://docs.nvidia.com/nim/large-language-models/latest/utilities.html
(1.x), .../latest/deployment/model-profiles-and-selection.html (2.x: low memory, required memory),
https://docs.nvidia.com/nim/speech/latest/reference/utilities.html.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from nimctl.cli.profile_words import COLUMNS, wrapped
from nimctl.cli.units import size
from nimctl.core.fit.gpu import BUSY_SHARE
from nimctl.core.fit.groups import used_share
from nimctl.core.profile import Fit

if TYPE_CHECKING:
    from nimctl.core.machine import Gpu, Host
    from nimctl.core.profile_reports import ListedProfile, ManifestFacts, ProfileList

_HEADINGS = (
    ("Compatible with system and runnable:", (Fit.COMPATIBLE,)),
    ("Compatible with system but low memory:", (Fit.LOW_MEMORY,)),
    (
        "Compilable to TRT-LLM using just-in-time compilation of HF models to TRTLLM engines:",
        (Fit.BUILDABLE,),
    ),
    ("Incompatible with system:", (Fit.INCOMPATIBLE,)),
)
_SPEECH_HEADINGS = (
    ("Compatible with system:", (Fit.COMPATIBLE, Fit.BUILDABLE, Fit.LOW_MEMORY)),
    ("Incompatible with system:", (Fit.INCOMPATIBLE,)),
)


def nim_lines(report: "ProfileList") -> Iterator[str]:
    """The host and the classes; an asterisk marks the profile that the NIM would take."""
    manifest = report.manifest
    if manifest is None or report.model != manifest.source:
        yield from wrapped(report.model)
    if manifest is not None:
        yield from wrapped(_manifest_words(manifest))
    yield "SYSTEM INFO"
    yield from _gpus("Free GPUs", report.host, free=True)
    yield from _gpus("Non-free GPUs", report.host, free=False)
    yield "MODEL PROFILES"
    speech = all("model_type" in profile.tags for profile in report.profiles)
    for heading, fits in _SPEECH_HEADINGS if speech else _HEADINGS:
        first, *more = wrapped(f"- {heading}")
        yield from (first, *(f"  {line}" for line in more))
        rows = [profile for profile in report.profiles if profile.fit in fits]
        plain = [profile for profile in rows if not profile.lora]
        yield from _rows(plain, report, "  ")
        adapted = [profile for profile in rows if profile.lora]
        if adapted:
            yield "  - With LoRA support:"
            yield from _rows(adapted, report, "    ")
        if not rows:
            yield "  - <None>"


def _manifest_words(manifest: "ManifestFacts") -> str:
    parts = (
        f"manifest of schema {manifest.schema} from {manifest.source}",
        f"NIM {manifest.nim_version}" if manifest.nim_version else None,
        f"download by {manifest.download_protocol}" if manifest.download_protocol else None,
    )
    return ", ".join(part for part in parts if part)


def _gpus(heading: str, host: "Host", *, free: bool) -> Iterator[str]:
    yield f"- {heading}:"
    shown = [gpu for gpu in host.gpus if (used_share(gpu) < BUSY_SHARE) is free]
    for gpu in shown:
        yield from _continued(f"  - {_gpu(gpu)}", "    ")
    if not shown:
        yield "  - <None>"


def _gpu(gpu: "Gpu") -> str:
    used = used_share(gpu) * 100
    return f"[{gpu.pci_device}] ({gpu.index}) {gpu.name} [current utilization: {used:.0f}%]"


def _rows(profiles: Iterable["ListedProfile"], report: "ProfileList", indent: str) -> Iterator[str]:
    inner = indent + "  "
    for profile in profiles:
        chosen = profile.id == report.selected
        mark = "*" if chosen else "-"
        row = f"{indent}{mark} {profile.id} ({profile.name}){_requirement(profile)}"
        yield from _continued(row, inner)
        if chosen:
            yield from wrapped(f"chosen: {report.why}", inner)
        if profile.download_bytes is not None:
            where = "in the store" if profile.engine == "cached" else "of files"
            yield f"{inner}{size(profile.download_bytes)} {where}"
        for reason in profile.reasons:
            yield from wrapped(reason, inner)


def _requirement(profile: "ListedProfile") -> str:
    """As NIM 2.x prints what a profile states."""
    stated = profile.gpu_memory_bytes
    return "" if stated is None else f" [requires >={stated / 10**9:g} GB/gpu]"


def _continued(line: str, indent: str) -> list[str]:
    """A row, with its name on lines of its own where one is too short for both."""
    if len(line) <= COLUMNS:
        return [line]
    head, _, name = line.partition(" (")
    if not name:
        return wrapped(line, indent)
    # The tags of speech NIMs may break where one ends.
    broken = wrapped(f"({name}".replace("|", "| "), indent)
    return [head, *(one.replace("| ", "|") for one in broken)]
