"""Records the GPUs of this machine in the form of tests/data/hosts, so that they can be replayed.

What could tell one machine from another of its kind is left out or replaced: serial numbers,
processes, UUIDs.
"""

import json
import subprocess
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_KEPT = {
    *("driver_version", "cuda_version", "attached_gpus", "gpu", "product_name", "uuid"),
    *("display_active", "mig_mode", "current_mig", "mig_devices", "mig_device", "index"),
    *("pci", "pci_device_id", "pci_bus_id", "fb_memory_usage", "total", "reserved", "used"),
    *("free", "ecc_mode", "current_ecc", "gpu_power_readings", "power_readings"),
    *("current_power_limit", "power_limit"),
}
_ANSWERS = {"-q -x": "q-x.xml", "-L": "L.txt", "topo -m": "topo-m.txt"}


def record(directory: Path, nvml: Any, *, about: str) -> None:
    """Write a recording of this machine; `nvml` is pynvml or answers like it."""
    directory.mkdir(parents=True, exist_ok=True)
    answers = nvml_answers(nvml)
    printed: dict[str, str] = {}
    for arguments, name in _ANSWERS.items():
        done = subprocess.run(
            ["nvidia-smi", *arguments.split()], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            text = trimmed(done.stdout) if name.endswith(".xml") else done.stdout
            (directory / name).write_text(_without_uuids(text, answers))
            printed[arguments] = name
    document = {
        "about": about,
        "sources": [],
        "composed": "recorded by tests/gpu on a real machine; UUIDs replaced",
        "files": dict(_files(answers)),
        "nvml": json.loads(_without_uuids(json.dumps(answers), answers)),
        "nvidia_smi": printed or None,
    }
    (directory / "host.json").write_text(json.dumps(document, indent=1) + "\n")


def nvml_answers(nvml: Any) -> dict[str, Any]:
    """What NVML says, as `nvml_replay.Nvml` replays it."""
    nvml.nvmlInit()
    try:
        handles = [
            nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())
        ]
        return {
            "driver": _text(nvml.nvmlSystemGetDriverVersion()),
            "cuda": _ask(nvml, nvml.nvmlSystemGetCudaDriverVersion),
            "nvlink": list(_islands(nvml, handles)),
            "devices": [_device(nvml, handle) for handle in handles],
        }
    finally:
        nvml.nvmlShutdown()


def trimmed(document: str) -> str:
    """What `nvidia-smi -q -x` printed, without what nimctl does not read."""
    root = ET.fromstring(document)  # noqa: S314 - the driver's own program printed it
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag not in _KEPT:
                parent.remove(child)
    ET.indent(root, "\t")
    return '<?xml version="1.0" ?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _device(nvml: Any, handle: Any) -> dict[str, Any]:
    pci = _ask(nvml, nvml.nvmlDeviceGetPciInfo, handle)
    mig = _ask(nvml, nvml.nvmlDeviceGetMigMode, handle)
    ecc = _ask(nvml, nvml.nvmlDeviceGetEccMode, handle)
    power_mw = _ask(nvml, nvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    device = {
        "name": _text(nvml.nvmlDeviceGetName(handle)),
        "uuid": _text(nvml.nvmlDeviceGetUUID(handle)),
        "pci_device": f"{pci.pciDeviceId >> 16:04x}" if pci else None,
        "pci_bus": _text(pci.busId) if pci else None,
        "capability": list(nvml.nvmlDeviceGetCudaComputeCapability(handle)),
        "memory_mib": _memory(nvml, handle),
        "ecc": None if ecc is None else ecc[0],
        "power_limit_w": None if power_mw is None else power_mw // 1000,
        "display": _ask(nvml, nvml.nvmlDeviceGetDisplayActive, handle),
        "mig": None if mig is None else mig[0],
    }
    return device | ({"slices": list(_slices(nvml, handle))} if mig and mig[0] else {})


def _slices(nvml: Any, handle: Any) -> Iterator[dict[str, Any]]:
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        piece = _ask(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index)
        if piece is None:
            continue
        name = _ask(nvml, nvml.nvmlDeviceGetName, piece)
        attributes = _ask(nvml, nvml.nvmlDeviceGetAttributes, piece)
        yield {
            "index": index,
            "uuid": _text(nvml.nvmlDeviceGetUUID(piece)),
            "name": None if name is None else _text(name),
            "attributes": attributes
            and [
                attributes.gpuInstanceSliceCount,
                attributes.computeInstanceSliceCount,
                attributes.memorySizeMB,
            ],
            "memory_mib": _memory(nvml, piece),
        }


def _memory(nvml: Any, handle: Any) -> list[int] | None:
    memory = _ask(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    if memory is None:
        return None
    return [round(part / 2**20) for part in (memory.total, memory.used, memory.free)]


def _islands(nvml: Any, handles: list[Any]) -> Iterator[list[int]]:
    """Groups of GPUs that NVLink connects."""
    seen: set[int] = set()
    for index, handle in enumerate(handles):
        linked = [
            other
            for other, peer in enumerate(handles)
            if other != index and _ask(nvml, nvml.nvmlDeviceGetP2PStatus, handle, peer, 2) == 0
        ]
        if linked and index not in seen:
            seen |= {index, *linked}
            yield sorted([index, *linked])


def _files(answers: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "dev/nvidiactl", ""
    meminfo = Path("/proc/meminfo").read_text().splitlines()
    yield "proc/meminfo", "\n".join(meminfo[:3]) + "\n"
    for device in answers["devices"]:
        if device["pci_bus"]:
            place = f"sys/bus/pci/devices/{device['pci_bus'].lower()[-12:]}/numa_node"
            node = Path("/") / place
            if node.exists():
                yield place, node.read_text()


def _without_uuids(text: str, answers: dict[str, Any]) -> str:
    pieces = [piece for device in answers["devices"] for piece in device.get("slices", [])]
    for number, one in enumerate([*answers["devices"], *pieces]):
        kind = one["uuid"].partition("-")[0]
        text = text.replace(one["uuid"], f"{kind}-{uuid.UUID(int=number + 1)}")
    return text


def _ask(nvml: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except nvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
