"""What this machine is: CPU, memory, disk, GPUs and the embedded engine's requirements."""

import ctypes
import importlib.util
import os
import platform
from pathlib import Path
from typing import Any

from nimctl.core.backends import X86_FEATURES
from nimctl.core.machine import Cpu, EmbeddedRuntime, Gpu, Host

_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")
# Any of these is there when an NVIDIA driver is: Linux, Jetson, and WSL.
_DRIVER_SIGNS = (
    "/dev/nvidiactl",
    "/dev/nvhost-ctrl-gpu",
    "/dev/dxg",
    "/proc/driver/nvidia/version",
)
_LIBRARY_DIRECTORIES = ("/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib")


def observe(home: Path) -> Host:
    """Read the machine; `home` is the directory whose disk counts."""
    cpuinfo = _read(_PROC / "cpuinfo")
    total, available = _memory()
    driver, gpus = _gpus()
    return Host(
        system=platform.system().lower(),
        cpu=_cpu(cpuinfo),
        memory_total_bytes=total,
        memory_available_bytes=available,
        disk_free_bytes=_disk_free(home),
        gpus=gpus,
        driver_version=driver,
        embedded=_embedded_runtime(),
    )


def _cpu(cpuinfo: str) -> Cpu:
    fields: dict[str, str] = {}
    cores: set[tuple[str, str]] = set()
    package = ""
    for line in cpuinfo.splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        fields.setdefault(key, value)
        if key == "physical id":
            package = value
        elif key == "core id":
            cores.add((package, value))
    threads = _usable_threads()
    machine = platform.machine()
    features = set(fields.get("flags", fields.get("Features", "")).split())
    return Cpu(
        model=fields.get("model name") or platform.processor() or machine,
        architecture=machine,
        cores=max(1, min(len(cores) or threads, threads)),
        threads=threads,
        features=tuple(feature for feature in X86_FEATURES if feature in features),
    )


def _usable_threads() -> int:
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        allowed = os.cpu_count() or 1
    quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        allowed = min(allowed, max(1, int(quota) // int(period)))
    return allowed


def _memory() -> tuple[int, int]:
    fields = {
        line.partition(":")[0]: int(line.split()[1]) * 1024
        for line in _read(_PROC / "meminfo").splitlines()
        if line.endswith("kB")
    }
    total = fields.get("MemTotal", 0)
    available = fields.get("MemAvailable", total)
    limit = _read(_CGROUP / "memory.max").strip()
    if limit.isdigit():
        used = int(_read(_CGROUP / "memory.current").strip() or 0)
        total = min(total, int(limit))
        available = min(available, max(0, int(limit) - used))
    return total, available


def _disk_free(home: Path) -> int:
    directory = home
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    stat = os.statvfs(directory)
    return stat.f_bavail * stat.f_frsize


def _embedded_runtime() -> EmbeddedRuntime:
    spec = importlib.util.find_spec("xllamacpp")
    if spec is None or spec.origin is None:
        return EmbeddedRuntime(libgomp=_has_libgomp())
    # importlib.metadata would tell the same and costs 30 ms to import.
    infos = [path.stem for path in Path(spec.origin).parent.parent.glob("xllamacpp-*.dist-info")]
    version = infos[0].partition("-")[2] if infos else "unknown"
    return EmbeddedRuntime(version=version, libgomp=_has_libgomp())


def _has_libgomp() -> bool:
    if platform.system() != "Linux":
        return True  # the wheels for other systems carry it
    # Looking costs microseconds where loading costs milliseconds; the loader has the last word.
    multiarch = f"{platform.machine()}-linux-gnu"
    for directory in _LIBRARY_DIRECTORIES:
        for place in (Path(directory), Path(directory) / multiarch):
            if (place / "libgomp.so.1").exists():
                return True
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        return False
    return True


def _gpus() -> tuple[str | None, tuple[Gpu, ...]]:
    if not any(Path(sign).exists() for sign in _DRIVER_SIGNS):
        return None, ()
    import pynvml  # noqa: PLC0415 - only where a driver is

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None, ()
    try:
        count = pynvml.nvmlDeviceGetCount()
        gpus = tuple(describe_gpu(pynvml, index) for index in range(count))
        return _text(pynvml.nvmlSystemGetDriverVersion()), gpus
    finally:
        pynvml.nvmlShutdown()


def describe_gpu(nvml: Any, index: int) -> Gpu:
    """Read one GPU; `nvml` is the module pynvml, which ships no types."""
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    pci = nvml.nvmlDeviceGetPciInfo(handle)
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError_NotSupported:
        memory = None  # unified-memory parts such as GB10 have no memory of their own
    return Gpu(
        index=index,
        name=_text(nvml.nvmlDeviceGetName(handle)),
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        # NVML packs device and vendor as 0xDDDDVVVV.
        pci_device=f"{pci.pciDeviceId >> 16:04x}:{pci.pciDeviceId & 0xFFFF:04x}",
        compute_capability=f"{major}.{minor}",
        memory_total_bytes=memory.total if memory else None,
        memory_free_bytes=memory.free if memory else None,
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
