"""The machine as it is, and NVML as its documentation says it answers."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nimctl import host


def test_this_machine_is_observed(tmp_path: Path) -> None:
    seen = host.observe(tmp_path / "not" / "there" / "yet")
    assert seen.system == "linux"
    assert 1 <= seen.cpu.cores <= seen.cpu.threads <= (os.cpu_count() or 1)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < seen.memory_available_bytes <= seen.memory_total_bytes <= pages
    stat = os.statvfs(tmp_path)
    assert seen.disk_free_bytes == pytest.approx(stat.f_bavail * stat.f_frsize, rel=0.2)
    assert seen.embedded.version
    assert seen.embedded.libgomp


class Memory(NamedTuple):
    total: int
    free: int


class Pci(NamedTuple):
    pciDeviceId: int  # noqa: N815 - NVML's name


class NotSupportedError(Exception):
    """What NVML raises where a part cannot tell."""


class Nvml:
    """Answers as NVML does, see https://docs.nvidia.com/deploy/nvml-api."""

    NVMLError_NotSupported = NotSupportedError

    def __init__(self, name: str, memory: Memory | None, text: type[str | bytes]) -> None:
        self._name, self._memory, self._text = name, memory, text

    def _as_text(self, value: str) -> str | bytes:
        return value if self._text is str else value.encode()

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802 - NVML's name
        return index

    def nvmlDeviceGetCudaComputeCapability(self, _: int) -> tuple[int, int]:  # noqa: N802
        return 9, 0

    def nvmlDeviceGetPciInfo(self, _: int) -> Pci:  # noqa: N802
        return Pci(0x233010DE)

    def nvmlDeviceGetMemoryInfo(self, _: int) -> Memory:  # noqa: N802
        if self._memory is None:
            raise NotSupportedError
        return self._memory

    def nvmlDeviceGetName(self, _: int) -> Any:  # noqa: N802
        return self._as_text(self._name)

    def nvmlDeviceGetUUID(self, _: int) -> Any:  # noqa: N802
        return self._as_text("GPU-1234")


@pytest.mark.parametrize("text", [str, bytes], ids=["text", "bytes of older bindings"])
def test_a_gpu_is_known_by_its_pci_device(text: type[str | bytes]) -> None:
    nvml = Nvml("NVIDIA H100 80GB HBM3", Memory(85_520_809_984, 85_000_000_000), text)
    gpu = host.describe_gpu(nvml, 3)
    assert (gpu.index, gpu.name, gpu.uuid) == (3, "NVIDIA H100 80GB HBM3", "GPU-1234")
    assert gpu.pci_device == "2330:10de"
    assert gpu.compute_capability == "9.0"
    assert gpu.memory_total_bytes == 85_520_809_984


def test_a_unified_memory_part_is_a_gpu_without_memory_of_its_own() -> None:
    gpu = host.describe_gpu(Nvml("NVIDIA GB10", None, str), 0)
    assert gpu.name == "NVIDIA GB10"
    assert (gpu.memory_total_bytes, gpu.memory_free_bytes) == (None, None)
