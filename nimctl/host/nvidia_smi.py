"""The program nvidia-smi, for machines where NVML's library cannot be loaded.

Layout of `nvidia-smi -q -x`: recorded outputs of drivers 515 to 595 (versions 11 to 13 of its
document type) in tests/data/hosts.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from nimctl.core.gpus import identify
from nimctl.host.programs import Answer, ask
from nimctl.host.reading import GpuReading, Reading, Slice

Changed = TypeVar("Changed", Reading, GpuReading, Slice)

_MIB = 2**20
_GPU_LINE = re.compile(r"^GPU (\d+): ")
_SLICE_LINE = re.compile(r"^\s+MIG (\S+)\s+Device\s+\d+: \(UUID: (MIG-[^)]+)\)")
_NUMBER = re.compile(r"^(\d+(?:\.\d+)?)(?: (?:MiB|W))?$")
_ESCAPES = re.compile(r"\x1b\[\d*m")
_ON = ("Enabled", "Yes")


def read(program: str, *, timeout_s: float) -> Reading | None:
    """Ask nvidia-smi; None when it does not answer in time."""

    def run(*arguments: str) -> Answer:
        return ask((program, *arguments), timeout_s=timeout_s)

    answer = run("-q", "-x")
    if answer.late:
        return None
    if answer.code != 0:
        said = (answer.out + answer.err).strip().splitlines()
        words = said[0] if said else f"nvidia-smi ended with {answer.code}"
        return Reading(error=words, error_code=answer.code)
    try:
        reading = parse(answer.out)
    except ET.ParseError as error:
        return Reading(error=f"nvidia-smi -q -x printed no XML: {error}")
    gpus = reading.gpus
    if any(gpu.mig_enabled for gpu in gpus):
        gpus = _with_slices(gpus, run("-L").out)
    if len(gpus) > 1:
        links = parse_links(run("topo", "-m").out)
        gpus = tuple(_changed(gpu, nvlink_peers=links.get(gpu.index, ())) for gpu in gpus)
    if any(identify(pci_device=gpu.pci_device, name=gpu.name) is None for gpu in gpus):
        found = run("--query-gpu=compute_cap", "--format=csv,noheader").out.split()
        gpus = tuple(
            _changed(gpu, compute_capability=_capability(found, gpu.index)) for gpu in gpus
        )
    return _changed(reading, gpus=gpus)


def parse(document: str) -> Reading:
    """Read what `nvidia-smi -q -x` prints.

    Raises:
        ParseError: It is no XML.
    """
    root = ET.fromstring(document)  # noqa: S314 - printed by the driver's own program
    return Reading(
        driver_version=_known(root, "driver_version"),
        cuda_version=_known(root, "cuda_version"),
        gpus=tuple(_gpu(index, one) for index, one in enumerate(root.findall("gpu"))),
    )


def parse_links(table: str) -> dict[int, tuple[int, ...]]:
    """GPU to the GPUs that NVLink connects it with, from `nvidia-smi topo -m`."""
    rows = [line.split() for line in _ESCAPES.sub("", table).splitlines() if line.strip()]
    if not rows:
        return {}
    header = [word for word in rows[0] if re.fullmatch(r"GPU\d+", word)]
    return {
        int(row[0].removeprefix("GPU")): tuple(
            int(name.removeprefix("GPU"))
            for name, cell in zip(header, row[1:], strict=False)
            if re.fullmatch(r"NV\d+", cell)
        )
        for row in rows[1:]
        if row[0] in header
    }


def _gpu(index: int, gpu: ET.Element) -> GpuReading:
    packed = (_known(gpu, "pci/pci_device_id") or "").lower()
    limits = ("gpu_power_readings/current_power_limit", "power_readings/power_limit")
    return GpuReading(
        index=index,
        name=_known(gpu, "product_name") or "",
        uuid=_known(gpu, "uuid") or "",
        # Packed as NVML has it: device, then vendor.
        pci_device=f"{packed[:4]}:{packed[4:]}" if packed else "",
        pci_bus=_known(gpu, "pci/pci_bus_id"),
        memory_total_bytes=_mib(gpu, "fb_memory_usage/total"),
        memory_used_bytes=_mib(gpu, "fb_memory_usage/used"),
        memory_free_bytes=_mib(gpu, "fb_memory_usage/free"),
        mig_enabled=_known(gpu, "mig_mode/current_mig") in _ON,
        slices=tuple(_slice(one) for one in gpu.findall("mig_devices/mig_device")),
        ecc=_enabled(gpu, "ecc_mode/current_ecc"),
        power_limit_w=next(filter(None, (_number(gpu, path) for path in limits)), None),
        drives_display=_known(gpu, "display_active") in _ON,
    )


def _slice(element: ET.Element) -> Slice:
    # The document names neither; `nvidia-smi -L` does, in the same order.
    return Slice(
        uuid="",
        profile="",
        memory_total_bytes=_mib(element, "fb_memory_usage/total"),
        memory_used_bytes=_mib(element, "fb_memory_usage/used"),
        memory_free_bytes=_mib(element, "fb_memory_usage/free"),
    )


def _with_slices(gpus: tuple[GpuReading, ...], listing: str) -> tuple[GpuReading, ...]:
    listed: dict[int, list[tuple[str, str]]] = {}
    index = -1
    for line in listing.splitlines():
        if begin := _GPU_LINE.match(line):
            index = int(begin[1])
        elif piece := _SLICE_LINE.match(line):
            listed.setdefault(index, []).append((piece[1], piece[2]))
    return tuple(
        _changed(gpu, slices=tuple(_named(gpu.slices, listed.get(gpu.index, [])))) for gpu in gpus
    )


def _named(slices: tuple[Slice, ...], names: list[tuple[str, str]]) -> Iterator[Slice]:
    for piece, (profile, uuid) in zip(slices, names, strict=False):
        yield _changed(piece, profile=profile, uuid=uuid)


def _capability(found: list[str], index: int) -> str | None:
    known = index < len(found) and re.fullmatch(r"\d+\.\d+", found[index])
    return found[index] if known else None


def _changed(value: Changed, **changes: object) -> Changed:
    return msgspec.structs.replace(value, **changes)


def _known(element: ET.Element, path: str) -> str | None:
    """The text, or None for what nvidia-smi says when it cannot tell."""
    text = (element.findtext(path) or "").strip()
    unknown = ("N/A", "ERR!", "Not Found", "Not Supported", "Unknown Error", "")
    return None if text.strip("[]") in unknown else text


def _enabled(element: ET.Element, path: str) -> bool | None:
    text = _known(element, path)
    return None if text is None else text in _ON


def _number(element: ET.Element, path: str) -> float | None:
    match = _NUMBER.match(_known(element, path) or "")
    return float(match[1]) if match else None


def _mib(element: ET.Element, path: str) -> int | None:
    number = _number(element, path)
    return None if number is None else round(number * _MIB)
