"""Which part a GPU is: by PCI device first, then by key, then by NVML's exact name."""

import re
from difflib import get_close_matches

from nimctl.core.errors import UsageError
from nimctl.core.gpus.datacenter import DATACENTER
from nimctl.core.gpus.geforce import GEFORCE
from nimctl.core.gpus.part import GpuPart
from nimctl.core.gpus.workstation import WORKSTATION
from nimctl.core.machine import Gpu

VENDOR = "10de"
PARTS: tuple[GpuPart, ...] = (*DATACENTER, *WORKSTATION, *GEFORCE)

_BY_KEY = {part.key: part for part in PARTS}


def keys() -> tuple[str, ...]:
    """All keys, in the table's order."""
    return tuple(_BY_KEY)


def by_key(key: str) -> GpuPart | None:
    """The part of a key; case does not matter."""
    return _BY_KEY.get(key.lower())


def by_device(pci_device: str) -> tuple[GpuPart, ...]:
    """The parts with a PCI device (`2330:10de`); some ids stand for two (A2 and A16 are 25b6)."""
    device, _, vendor = pci_device.lower().partition(":")
    if vendor not in ("", VENDOR):
        return ()
    return tuple(part for part in PARTS if device in part.pci_devices)


def by_name(name: str) -> tuple[GpuPart, ...]:
    """The parts that NVML calls exactly this; several where only their memory differs."""
    wanted = name.lower()
    return tuple(part for part in PARTS if wanted in (one.lower() for one in part.names))


def identify(*, pci_device: str, name: str, memory_bytes: int | None = None) -> GpuPart | None:
    """Tell which part was observed, None when the table lacks it.

    The name decides among parts of one device id, and the memory among parts of one name.
    """
    named = by_name(name)
    candidates = by_device(pci_device)
    if candidates:
        candidates = tuple(part for part in candidates if part in named) or candidates
    else:
        candidates = named
    if memory_bytes is None:
        return candidates[0] if candidates else None
    return min(
        candidates, key=lambda part: abs((part.memory_bytes or 0) - memory_bytes), default=None
    )


def find(text: str) -> GpuPart:
    """The part that a person names by key, by PCI device or by NVML's name.

    Raises:
        UsageError: No part, or several, are called so.
    """
    part = by_key(text) or _BY_LETTERS.get(_letters(text))
    if part is not None:
        return part
    found = by_device(text) if _is_device(text) else by_name(text)
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"several GPUs are called '{text}'",
            hint="name one of them: " + ", ".join(part.key for part in found),
        )
    raise UsageError(f"nimctl knows no GPU '{text}'", hint=_hint(text))


def part_of(gpu: Gpu) -> GpuPart | None:
    """The table's part for a GPU that was observed or planned for."""
    part = by_key(gpu.key) if gpu.key else None
    return part or identify(
        pci_device=gpu.pci_device, name=gpu.name, memory_bytes=gpu.memory_total_bytes
    )


def means(gpu: Gpu, *, tag: str | None = None, device: str | None = None) -> bool:
    """Whether a NIM profile's `gpu` tag and `gpu_device` mean this GPU.

    The device decides where it is given; tags are compared exactly but for case, against those
    that NIM uses and against nimctl's key. What is made for a whole GPU does not fit a MIG slice.
    """
    if gpu.mig_profile is not None:
        return False
    if device is not None:
        return device.lower() == gpu.pci_device.lower()
    part = part_of(gpu)
    return part is not None and tag is not None and tag.lower() in (part.key, *part.nim_tags)


def _letters(text: str) -> str:
    """A key without what people write between its words: `RTX 4090`, `H100-SXM`."""
    return re.sub(r"[\s_-]", "", text.lower())


_BY_LETTERS = {_letters(key): part for key, part in _BY_KEY.items()}


def _begins(key: str, word: str) -> bool:
    # The word for a family, such as `rtx`, begins too many.
    return key.startswith(f"{word}_") and any(map(str.isdigit, word))


def _is_device(text: str) -> bool:
    device, _, vendor = text.lower().partition(":")
    return vendor == VENDOR and re.fullmatch("[0-9a-f]{4}", device) is not None


def _hint(text: str) -> str:
    word = text.lower().replace("-", "_").replace(" ", "_")
    begins = [key for one in (word, *word.split("_")) for key in _BY_KEY if _begins(key, one)]
    if begins:
        return "did you mean " + ", ".join(dict.fromkeys(begins)) + "?"
    names = {name.lower(): part.key for part in PARTS for name in part.names}
    close = [names[name] for name in get_close_matches(text.lower(), names, n=5)]
    close += get_close_matches(word, _BY_KEY, n=5)
    near = list(dict.fromkeys(close))[:5]
    if near:
        return "did you mean " + ", ".join(near) + "?"
    return "give a key such as h100_sxm, NVML's name, or a PCI device such as 26b9:10de"
