"""One kind of GPU, and where each of its facts comes from."""

from nimctl.core.value import Value

# The PCI ID Project's list, snapshot 2026.08.22 (https://pci-ids.ucw.cz, package `pci.ids`).
PCI_IDS = "https://pci-ids.ucw.cz/read/PC/10de (2026.08.22)"
# Product names by device id: "compatible GPUs" in the README of NVIDIA's kernel modules 595.45.04.
KERNEL_MODULES = "https://github.com/NVIDIA/open-gpu-kernel-modules (595.45.04)"
CUDA_GPUS = "https://developer.nvidia.com/cuda-gpus"
LEGACY_CUDA_GPUS = "https://developer.nvidia.com/cuda-legacy-gpus"
# Several listings of nvidia-smi in public repositories show the name with the size: a search of
# GitHub's code for the size, such as 143771MiB, finds them.
LISTED = "https://github.com/search?type=code (the size, such as 143771MiB)"
# The page lists another part of the chip that pci.ids names for this one, such as AD102.
SAME_CHIP = "the chip's other parts in https://developer.nvidia.com/cuda-gpus"


class GpuPart(Value):
    """A kind of GPU.

    `key` is nimctl's name, `names` are what NVML calls it, `pci_devices` the device ids in hex of
    vendor 10de, the usual one first. `memory_mib` is what NVML reports as the total; where
    `memory_source` is None it is the nominal size, which is a few percent more. Parts with
    `unified_memory` use the host's; `memory_mib` is then the host's, or None where hosts differ.
    `nvlink` tells that the boards it sits on connect all their GPUs. `nim_tags` are values of
    NIM's tag `gpu` that mean this part, in lower case. `unverified` names the fields that no
    source confirms.
    """

    key: str
    names: tuple[str, ...]
    pci_devices: tuple[str, ...]
    compute_capability: str
    memory_mib: int | None = None
    memory_source: str | None = None
    unified_memory: bool = False
    nvlink: bool = False
    nim_tags: tuple[str, ...] = ()
    source: str = PCI_IDS
    name_source: str = KERNEL_MODULES
    capability_source: str = CUDA_GPUS
    unverified: tuple[str, ...] = ()

    @property
    def comes_alone(self) -> bool:
        """Whether no machine has two of them: laptops, and parts that share the host's memory."""
        return self.unified_memory or self.key.endswith("_laptop")

    @property
    def memory_bytes(self) -> int | None:
        """The memory in bytes."""
        return None if self.memory_mib is None else self.memory_mib * 2**20


def part(
    key: str,
    name: str | tuple[str, ...],
    pci: str,
    capability: str,
    memory_mib: int | None,
    **other: str | bool | tuple[str, ...] | None,
) -> GpuPart:
    """Write a row of the table on one line; `pci` are device ids with spaces between them."""
    names = (name,) if isinstance(name, str) else name
    return GpuPart(
        key=key,
        names=names,
        pci_devices=tuple(pci.split()),
        compute_capability=capability,
        memory_mib=memory_mib,
        **other,  # type: ignore[arg-type]
    )
