"""GPU names that registries use, by PCI device id: a name alone is ambiguous.

The ids are those that NIM prints in its listings (`Free GPUs: [20b2:10de] …`); those of A10G, H200,
A100-SXM4-40GB and T4 are from https://pci-ids.ucw.cz alone.
"""

from nimctl.core.machine import Host
from nimctl.core.ngc import ModelVersion

_DEVICES: dict[str, frozenset[str]] = {
    "A10": frozenset({"2236"}),
    "A100": frozenset({"20b0", "20b2", "20b5"}),
    "A100_SXM4_40GB": frozenset({"20b0"}),
    "A100PCIE": frozenset({"20b5"}),
    "A10G": frozenset({"2237"}),
    "B200": frozenset({"2901"}),
    "GB10": frozenset({"2e12"}),
    "H100": frozenset({"2330"}),
    "H100_NVL": frozenset({"2321"}),
    "H100PCIE": frozenset({"2331"}),
    "H200": frozenset({"2335"}),
    "L40": frozenset({"26b5"}),
    "L40S": frozenset({"26b9"}),
    "RTX4090": frozenset({"2684"}),
    "RTX6000_BLACKWELL_SV": frozenset({"2bb5"}),
    "T4": frozenset({"1eb8"}),
}


def suits(version: ModelVersion, host: Host) -> bool | None:
    """Tell whether the host has the GPUs that a version was built for; None when it names none."""
    if version.gpu is None:
        return None
    devices = _DEVICES.get(version.gpu.upper(), frozenset())
    there = sum(gpu.pci_device.partition(":")[0] in devices for gpu in host.gpus)
    return there >= (version.gpu_count or 1)
