"""NVML's answers as JSON: `python -m nimctl.host.nvml` prints them.

It runs as a process of its own, so that a call into a driver that hangs can be abandoned, and
imports nothing but the binding, so that it starts fast. The fields are those of `reading.Reading`.
"""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

_OK = 0  # NVML_P2P_STATUS_OK
_NVLINK = 2  # NVML_P2P_CAPS_INDEX_NVLINK
_LIBRARY_NOT_FOUND = 12


def read(nvml: Any) -> dict[str, Any]:
    """Ask for everything once; `nvml` is the module pynvml or an object that answers like it."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return {"error": str(error), "error_code": error.value}
    try:
        return {
            "driver_version": _text(nvml.nvmlSystemGetDriverVersion()),
            "cuda_version": _cuda_version(nvml),
            "gpus": list(_gpus(nvml)),
        }
    except nvml.NVMLError as error:
        return {"error": str(error), "error_code": error.value}
    finally:
        nvml.nvmlShutdown()


def _cuda_version(nvml: Any) -> str | None:
    version = _ask(nvml, nvml.nvmlSystemGetCudaDriverVersion)
    return None if version is None else f"{version // 1000}.{version % 1000 // 10}"


def _gpus(nvml: Any) -> Iterator[dict[str, Any]]:
    handles: dict[int, Any] = {}
    found = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            found.append(_gpu(nvml, index, handle))
            handles[index] = handle
        except nvml.NVMLError as error:  # a GPU that fell off the bus leaves the others usable
            found.append({"index": index, "error": str(error)})
    for gpu in found:
        yield gpu | {"nvlink_peers": _nvlink_peers(nvml, gpu["index"], handles)}


def _gpu(nvml: Any, index: int, handle: Any) -> dict[str, Any]:
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    mig, _ = _ask(nvml, nvml.nvmlDeviceGetMigMode, handle) or (0, 0)
    ecc, _ = _ask(nvml, nvml.nvmlDeviceGetEccMode, handle) or (None, None)
    power_mw = _ask(nvml, nvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    return {
        "index": index,
        "name": _text(nvml.nvmlDeviceGetName(handle)),
        "uuid": _text(nvml.nvmlDeviceGetUUID(handle)),
        **_place(nvml, handle),
        "compute_capability": f"{major}.{minor}",
        **_memory(nvml, handle),
        "mig_enabled": bool(mig),
        "slices": list(_slices(nvml, handle)) if mig else [],
        "ecc": None if ecc is None else bool(ecc),
        "power_limit_w": None if power_mw is None else power_mw / 1000,
        "drives_display": bool(_ask(nvml, nvml.nvmlDeviceGetDisplayActive, handle)),
    }


def _place(nvml: Any, handle: Any) -> dict[str, Any]:
    pci = _ask(nvml, nvml.nvmlDeviceGetPciInfo, handle)
    if pci is None or not pci.pciDeviceId:  # the GPU of a Jetson Orin is on no PCI bus
        return {}
    # NVML packs device and vendor as 0xDDDDVVVV.
    device = f"{pci.pciDeviceId >> 16:04x}:{pci.pciDeviceId & 0xFFFF:04x}"
    return {"pci_device": device, "pci_bus": _text(pci.busId)}


def _memory(nvml: Any, handle: Any) -> dict[str, Any]:
    memory = _ask(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    if memory is None:  # unified-memory parts such as GB10 have none of their own
        return {}
    return {
        "memory_total_bytes": memory.total,
        "memory_used_bytes": memory.used,
        "memory_free_bytes": memory.free,
    }


def _slices(nvml: Any, handle: Any) -> Iterator[dict[str, Any]]:
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        piece = _ask(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index)
        if piece is None:  # the numbers of slices have gaps
            continue
        uuid = _text(nvml.nvmlDeviceGetUUID(piece))
        yield {"uuid": uuid, "profile": _profile(nvml, piece), **_memory(nvml, piece)}


def _profile(nvml: Any, piece: Any) -> str:
    """The slice's profile: `3g.40gb`, with its compute part first where that is smaller."""
    name = _text(_ask(nvml, nvml.nvmlDeviceGetName, piece) or "")
    _, _, profile = name.partition(" MIG ")
    if profile:
        return profile
    attributes = nvml.nvmlDeviceGetAttributes(piece)
    whole, part = attributes.gpuInstanceSliceCount, attributes.computeInstanceSliceCount
    size = f"{whole}g.{-(-attributes.memorySizeMB // 1024)}gb"
    return size if part == whole else f"{part}c.{size}"


def _nvlink_peers(nvml: Any, index: int, handles: dict[int, Any]) -> list[int]:
    def linked(other: int) -> bool:
        answer = _ask(nvml, nvml.nvmlDeviceGetP2PStatus, handles[index], handles[other], _NVLINK)
        return bool(answer == _OK)

    if index not in handles:
        return []
    return [other for other in handles if other != index and linked(other)]


def _ask(nvml: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """The answer, or None where the part or the driver cannot tell."""
    try:
        return function(*arguments)
    except nvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def main() -> None:
    """Print what NVML answers."""
    try:
        import pynvml  # noqa: PLC0415 - only where a driver is
    except ImportError as error:
        answer = {"error": str(error), "error_code": _LIBRARY_NOT_FOUND}
    else:
        answer = read(pynvml)
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
