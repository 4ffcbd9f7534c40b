"""The GPUs of this machine: NVML first, then nvidia-smi, and in words what is broken."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from nimctl.core.gpus import VENDOR, GpuPart, by_device, by_key, identify
from nimctl.core.machine import Gpu, Trouble
from nimctl.core.value import Value
from nimctl.host import nvidia_smi
from nimctl.host.files import text
from nimctl.host.programs import ask
from nimctl.host.reading import GpuReading, Reading, sysfs_address

# Any of these is there when an NVIDIA driver is: Linux, Jetson (two generations), and WSL.
_DRIVER_SIGNS = (
    "dev/nvidiactl",
    "dev/nvhost-ctrl-gpu",
    "dev/nvgpu",
    "dev/dxg",
    "proc/driver/nvidia/version",
)
_WSL_PROGRAMS = "usr/lib/wsl/lib"
_NVML = (sys.executable, "-P", "-m", "nimctl.host.nvml")
# Without the persistence daemon, the first call wakes every GPU: seconds on a machine with eight.
_PATIENCE_S = 20.0
# Jetson chips by the name in the device tree: tegra234 is Orin's, tegra264 Thor's
# (https://github.com/rbonghi/jetson_stats/issues/617 and /711).
_JETSONS = {"nvidia,tegra234": "jetson_orin", "nvidia,tegra264": "jetson_thor"}
_NVIDIA = "0x10de"
_DISPLAY_CLASSES = ("0x0300", "0x0302")  # VGA and 3D controllers
_LIBRARY_NOT_FOUND = 12
# NVML's codes (nvmlReturn_t), which nvidia-smi also ends with.
_TROUBLES = {
    4: ("no-permission", "this user may not use the NVIDIA driver"),
    9: ("driver-not-loaded", "the NVIDIA driver is not loaded"),
    12: ("library-missing", "the NVIDIA driver's library libnvidia-ml.so.1 cannot be loaded"),
    15: ("gpu-lost", "a GPU has fallen off the bus"),
    18: ("driver-mismatch", "the NVIDIA driver's module and library are of different versions"),
}


class Sources(Value):
    """Where GPUs are looked for: an injected file system, PATH, and program that asks NVML."""

    root: str = "/"
    search_path: str = os.defpath
    nvml: tuple[str, ...] = _NVML
    patience_s: float = _PATIENCE_S


class Found(Value):
    """GPUs that can be used, and what was found broken."""

    driver_version: str | None = None
    cuda_version: str | None = None
    gpus: tuple[Gpu, ...] = ()
    troubles: tuple[Trouble, ...] = ()


def look(sources: Sources, memory: tuple[int, int]) -> Found:
    """Find the GPUs; `memory` is the host's, total and available, which some parts share.

    No process is started where nothing hints at a driver. A driver that does not answer within
    `patience_s` is a trouble, never an error.
    """
    root = Path(sources.root)
    program = _nvidia_smi(root, sources.search_path)
    if program is None and not any((root / sign).exists() for sign in _DRIVER_SIGNS):
        return Found(troubles=tuple(_without_driver(root)))
    reading = _read(sources, program)
    if reading is None:
        late = f"the NVIDIA driver did not answer in {sources.patience_s:g} s"
        return Found(troubles=(Trouble(kind="driver-silent", message=late),))
    if reading.error is not None:
        jetson = _jetson(root)
        if jetson is None:
            return Found(troubles=(_trouble(reading),))
        reading = jetson
    found = [conclude(gpu, root, memory) for gpu in reading.gpus]
    return Found(
        driver_version=reading.driver_version,
        cuda_version=reading.cuda_version,
        gpus=tuple(gpu for gpus, _ in found for gpu in gpus),
        troubles=tuple(trouble for _, troubles in found for trouble in troubles),
    )


def conclude(
    seen: GpuReading, root: Path, memory: tuple[int, int]
) -> tuple[Sequence[Gpu], Sequence[Trouble]]:
    """From what the driver tells to what can be used: the GPU, or its MIG slices."""
    if seen.error is not None:
        return (), [Trouble(kind="gpu-lost", message=f"GPU {seen.index}: {seen.error}")]
    part = identify(
        pci_device=seen.pci_device, name=seen.name, memory_bytes=seen.memory_total_bytes
    )
    capability = seen.compute_capability or (part.compute_capability if part else None)
    if capability is None:
        message = f"{seen.name}: the driver does not tell its compute capability"
        return (), [Trouble(kind="unknown-gpu", message=message)]
    total, available = memory
    shared = part.unified_memory if part else seen.memory_total_bytes is None
    gpu = Gpu(
        index=seen.index,
        name=seen.name,
        uuid=seen.uuid,
        pci_device=_device(seen, part),
        compute_capability=capability,
        key=part.key if part else None,
        memory_total_bytes=total if shared else seen.memory_total_bytes,
        memory_used_bytes=total - available if shared else seen.memory_used_bytes,
        memory_free_bytes=available if shared else seen.memory_free_bytes,
        unified_memory=shared,
        numa_node=_numa_node(root, seen.pci_bus),
        nvlink_peers=seen.nvlink_peers,
        ecc=seen.ecc,
        power_limit_w=seen.power_limit_w,
        drives_display=seen.drives_display,
    )
    if not seen.mig_enabled:
        return (gpu,), ()
    slices = tuple(_slices(seen, gpu))
    if slices:
        return slices, ()
    message = f"GPU {seen.index} ({seen.name}) is in MIG mode and has no slices"
    return (), [Trouble(kind="mig-without-slices", message=message, gpu=seen.index)]


def _device(seen: GpuReading, part: GpuPart | None) -> str:
    # nvidia-smi 515 printed `000000DE` for the A10G of a cloud.
    if part is None or by_device(seen.pci_device) or not part.pci_devices:
        return seen.pci_device
    return f"{part.pci_devices[0]}:{VENDOR}"


def _slices(seen: GpuReading, gpu: Gpu) -> Iterator[Gpu]:
    for piece in seen.slices:
        yield msgspec.structs.replace(
            gpu,
            name=f"{seen.name} MIG {piece.profile}",
            uuid=piece.uuid,
            mig_profile=piece.profile,
            memory_total_bytes=piece.memory_total_bytes,
            memory_used_bytes=piece.memory_used_bytes,
            memory_free_bytes=piece.memory_free_bytes,
            nvlink_peers=(),  # slices cannot reach each other
            power_limit_w=None,
        )


def _read(sources: Sources, program: str | None) -> Reading | None:
    """What the driver answers; None when it does not in time."""
    answer = ask(sources.nvml, timeout_s=sources.patience_s)
    if answer.late:
        return None
    try:
        reading = msgspec.json.decode(answer.out, type=Reading)
    except msgspec.DecodeError:  # the process crashed inside the library
        reading = Reading(error="NVML crashed", error_code=_LIBRARY_NOT_FOUND)
    if reading.error is None or program is None or reading.error_code != _LIBRARY_NOT_FOUND:
        return reading
    return nvidia_smi.read(program, timeout_s=sources.patience_s)


def _nvidia_smi(root: Path, search_path: str) -> str | None:
    places = f"{search_path}{os.pathsep}{root / _WSL_PROGRAMS}"
    return shutil.which("nvidia-smi", path=places)


def _trouble(reading: Reading) -> Trouble:
    words = reading.error or ""
    code = 18 if "version mismatch" in words else reading.error_code
    kind, message = _TROUBLES.get(code or 0, ("driver-failed", f"the NVIDIA driver: {words}"))
    return msgspec.convert({"kind": kind, "message": message}, Trouble)


def _without_driver(root: Path) -> Iterator[Trouble]:
    """Tell of an NVIDIA GPU that is on the bus although no driver is there."""
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        if text(device / "vendor").strip() != _NVIDIA:
            continue
        if not text(device / "class").startswith(_DISPLAY_CLASSES):
            continue
        pci = text(device / "device").strip().removeprefix("0x") + ":10de"
        name = next((part.names[0] for part in by_device(pci)), f"an NVIDIA GPU ({pci})")
        inside = any((root / sign).exists() for sign in (".dockerenv", "run/.containerenv"))
        if inside:
            message = f"{name} is there, but this container was started without GPUs"
            yield Trouble(kind="container-without-gpus", message=message)
        else:
            message = f"{name} is there, but no NVIDIA driver is loaded"
            yield Trouble(kind="no-driver", message=message)
        return


def _jetson(root: Path) -> Reading | None:
    """A Jetson, whose software before JetPack 6 has no NVML, by its device tree."""
    chips = text(root / "proc/device-tree/compatible").split("\0")
    key = next((_JETSONS[chip] for chip in chips if chip in _JETSONS), None)
    part = by_key(key) if key else None
    if part is None:
        return None
    return Reading(gpus=(GpuReading(index=0, name=part.names[0]),))


def _numa_node(root: Path, bus: str | None) -> int | None:
    address = sysfs_address(bus or "")
    node = text(root / "sys/bus/pci/devices" / address / "numa_node").strip() if address else ""
    return int(node) if node.isdigit() else None  # -1 where the machine has one node
