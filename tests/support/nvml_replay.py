"""An NVML that answers from a recording; as a program it prints what nimctl reads out of one.

`nvml_replay.py tests/data/hosts/NAME/host.json`
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from nimctl.host import nvml

NOT_SUPPORTED = 3
NOT_FOUND = 6


class NvmlError(Exception):
    """What the binding raises; `value` is NVML's code."""

    def __init__(self, value: int) -> None:
        super().__init__(MESSAGES.get(value, "Unknown Error"))
        self.value = value


# What nvmlErrorString says, as the binding prints it.
MESSAGES = {
    3: "Not Supported",
    4: "Insufficient Permissions",
    6: "Not Found",
    9: "Driver Not Loaded",
    12: "NVML Shared Library Not Found",
    15: "GPU is lost",
    18: "Driver/library version mismatch",
}


class Memory(NamedTuple):
    """nvmlMemory_t."""

    total: int
    used: int
    free: int


class Pci(NamedTuple):
    """The parts of nvmlPciInfo_t that matter."""

    pciDeviceId: int  # noqa: N815 - NVML's names
    busId: str | bytes  # noqa: N815


class Attributes(NamedTuple):
    """The parts of nvmlDeviceAttributes_t that matter."""

    gpuInstanceSliceCount: int  # noqa: N815 - NVML's names
    computeInstanceSliceCount: int  # noqa: N815
    memorySizeMB: int  # noqa: N815


class Nvml:
    """Answers as a recorded NVML did; names and behaviour are those of the binding.

    `text` is what the binding gives strings as: bytes in its older versions.
    """

    # ruff: noqa: N802 - the binding's names
    NVMLError = NvmlError

    def __init__(self, answers: dict[str, Any], text: Callable[[str], Any] = str) -> None:
        self._answers = answers
        self._text = text

    def nvmlInit(self) -> None:
        if self._answers.get("error"):
            raise NvmlError(self._answers["error"])

    def nvmlShutdown(self) -> None:
        pass

    def nvmlSystemGetDriverVersion(self) -> Any:
        return self._text(self._answers["driver"])

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return int(_supported(self._answers["cuda"]))

    def nvmlDeviceGetCount(self) -> int:
        return len(self._answers["devices"])

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        device: dict[str, Any] = self._answers["devices"][index]
        if "error" in device:
            raise NvmlError(device["error"])
        return device | {"index": index}

    def nvmlDeviceGetCudaComputeCapability(self, device: dict[str, Any]) -> tuple[int, int]:
        major, minor = device["capability"]
        return major, minor

    def nvmlDeviceGetName(self, device: dict[str, Any]) -> Any:
        return self._text(_supported(device.get("name")))

    def nvmlDeviceGetUUID(self, device: dict[str, Any]) -> Any:
        return self._text(device["uuid"])

    def nvmlDeviceGetPciInfo(self, device: dict[str, Any]) -> Pci:
        packed = int(_supported(device.get("pci_device")) + "10de", 16)
        return Pci(packed, self._text(device["pci_bus"]))

    def nvmlDeviceGetMemoryInfo(self, device: dict[str, Any]) -> Memory:
        total, used, free = _supported(device.get("memory_mib"))
        return Memory(total * 2**20, used * 2**20, free * 2**20)

    def nvmlDeviceGetMigMode(self, device: dict[str, Any]) -> list[int]:
        mode = int(_supported(device.get("mig")))
        return [mode, mode]

    def nvmlDeviceGetMaxMigDeviceCount(self, _: dict[str, Any]) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(
        self, device: dict[str, Any], index: int
    ) -> dict[str, Any]:
        slices: list[dict[str, Any]] = device["slices"]
        for piece in slices:
            if piece["index"] == index:
                return piece
        raise NvmlError(NOT_FOUND)

    def nvmlDeviceGetAttributes(self, piece: dict[str, Any]) -> Attributes:
        return Attributes(*_supported(piece.get("attributes")))

    def nvmlDeviceGetEccMode(self, device: dict[str, Any]) -> list[int]:
        mode = int(_supported(device.get("ecc")))
        return [mode, mode]

    def nvmlDeviceGetEnforcedPowerLimit(self, device: dict[str, Any]) -> int:
        return int(_supported(device.get("power_limit_w"))) * 1000

    def nvmlDeviceGetDisplayActive(self, device: dict[str, Any]) -> int:
        return int(_supported(device.get("display")))

    def nvmlDeviceGetP2PStatus(self, one: dict[str, Any], other: dict[str, Any], _: int) -> int:
        linked = self._answers.get("nvlink", [])
        together = any(one["index"] in group and other["index"] in group for group in linked)
        return 0 if together else 5  # NVML_P2P_STATUS_OK, NVML_P2P_STATUS_NOT_SUPPORTED


def _supported(value: Any) -> Any:
    if value is None:
        raise NvmlError(NOT_SUPPORTED)
    return value


def main() -> None:
    """Print what nimctl reads out of the recorded NVML."""
    answers = json.loads(Path(sys.argv[1]).read_text())["nvml"]
    sys.stdout.write(json.dumps(nvml.read(Nvml(answers or {"error": 12}))))


if __name__ == "__main__":
    main()
