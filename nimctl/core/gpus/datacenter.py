"""GPUs of servers. Tags are those that NIM's listings print; sources of memory stand with them."""

from nimctl.core.gpus.part import LEGACY_CUDA_GPUS, PCI_IDS, SAME_CHIP, GpuPart, part

# What nvidia-smi shows on one provider's machines, from a pull request to its documentation.
_MODAL = "https://github.com/modal-labs/modal-client/pull/2797"
_B200 = "https://github.com/NVIDIA/TensorRT-LLM/issues/10278"
_A10G = "https://github.com/influxdata/telegraf (nvidia_smi/testdata/a10g.xml)"
_A800_SXM = "https://github.com/dexmal/dexbotic/issues/41"
_A800_PCIE = "https://github.com/Project-HAMi/HAMi/issues/1903"
_H20 = "https://github.com/NVIDIA/nvtrust/issues/128"
_H100_NVL = "https://github.com/wilicc/gpu-burn/issues/141"

DATACENTER: tuple[GpuPart, ...] = (
    part(
        "v100_sxm_16gb",
        "Tesla V100-SXM2-16GB",
        "1db1 1df5",
        "7.0",
        16384,
        capability_source=LEGACY_CUDA_GPUS,
        name_source=PCI_IDS,
        unverified=("names",),
    ),
    part(
        "v100_sxm_32gb",
        ("Tesla V100-SXM2-32GB", "Tesla V100-SXM3-32GB"),
        "1db5 1db8",
        "7.0",
        32768,
        capability_source=LEGACY_CUDA_GPUS,
        name_source=PCI_IDS,
        unverified=("names",),
    ),
    part(
        "v100_pcie_16gb",
        "Tesla V100-PCIE-16GB",
        "1db4",
        "7.0",
        16384,
        capability_source=LEGACY_CUDA_GPUS,
        name_source=PCI_IDS,
        unverified=("names",),
    ),
    part(
        "v100_pcie_32gb",
        ("Tesla V100-PCIE-32GB", "Tesla V100S-PCIE-32GB"),
        "1db6 1df6",
        "7.0",
        32768,
        capability_source=LEGACY_CUDA_GPUS,
        name_source=PCI_IDS,
        unverified=("names",),
    ),
    part("t4", "Tesla T4", "1eb8", "7.5", 15360, memory_source=_MODAL),
    part(
        "t4g",
        "NVIDIA T4G",
        "1eb4",
        "7.5",
        16384,
        capability_source=SAME_CHIP,
        name_source=PCI_IDS,
        unverified=("names",),
    ),
    part(
        "a100_sxm_40gb",
        "NVIDIA A100-SXM4-40GB",
        "20b0",
        "8.0",
        40960,
        memory_source=_MODAL,
        nim_tags=("a100_sxm4_40gb",),
    ),
    part(
        "a100_sxm_80gb",
        "NVIDIA A100-SXM4-80GB",
        "20b2",
        "8.0",
        81920,
        memory_source=_MODAL,
        nim_tags=("a100",),
    ),
    part("a100_pcie_40gb", "NVIDIA A100-PCIE-40GB", "20f1 20b1", "8.0", 40960),
    # `a100` alone, without a device, is taken to mean this one too: the chips are the same.
    part(
        "a100_pcie_80gb",
        "NVIDIA A100 80GB PCIe",
        "20b5",
        "8.0",
        81920,
        nim_tags=("a100pcie", "a100"),
    ),
    part(
        "a800_sxm_40gb", "NVIDIA A800-SXM4-40GB", "20bd", "8.0", 40960, capability_source=SAME_CHIP
    ),
    part(
        "a800_sxm_80gb",
        "NVIDIA A800-SXM4-80GB",
        "20f3",
        "8.0",
        81920,
        memory_source=_A800_SXM,
        capability_source=SAME_CHIP,
    ),
    part(
        "a800_pcie_80gb",
        "NVIDIA A800 80GB PCIe",
        "20f5",
        "8.0",
        81920,
        memory_source=_A800_PCIE,
        capability_source=SAME_CHIP,
    ),
    part("a30", "NVIDIA A30", "20b7", "8.0", 24576),
    part("a40", "NVIDIA A40", "2235", "8.6", 49152),
    part("a10", "NVIDIA A10", "2236", "8.6", 23028, memory_source=_MODAL),
    part(
        "a10g",
        "NVIDIA A10G",
        "2237",
        "8.6",
        23028,
        memory_source=_A10G,
        capability_source=SAME_CHIP,
        nim_tags=("a10g",),
    ),
    part("a16", "NVIDIA A16", "25b6", "8.6", 16384),
    part("a2", "NVIDIA A2", "25b6", "8.6", 16384),
    part("l4", "NVIDIA L4", "27b8", "8.9", 23034, memory_source=_MODAL),
    part("l20", "NVIDIA L20", "26ba 26b7", "8.9", 49152, capability_source=SAME_CHIP),
    part("l40", "NVIDIA L40", "26b5", "8.9", 49152),
    part("l40s", "NVIDIA L40S", "26b9", "8.9", 46068, memory_source=_MODAL, nim_tags=("l40s",)),
    part(
        "h100_sxm",
        "NVIDIA H100 80GB HBM3",
        "2330",
        "9.0",
        81559,
        memory_source=_MODAL,
        nim_tags=("h100", "h100_hbm3_80gb"),
    ),
    part("h100_sxm_94gb", "NVIDIA H100", "2339", "9.0", 96256),
    part("h100_pcie", "NVIDIA H100 PCIe", "2331", "9.0", 81920, nim_tags=("h100pcie",)),
    part(
        "h100_nvl",
        "NVIDIA H100 NVL",
        "2321",
        "9.0",
        95830,
        memory_source=_H100_NVL,
        nim_tags=("h100_nvl",),
    ),
    part("h200", "NVIDIA H200", "2335", "9.0", 144384, nim_tags=("h200",)),
    part("h200_nvl", "NVIDIA H200 NVL", "233b", "9.0", 144384),
    part(
        "h20", "NVIDIA H20", "2329", "9.0", 97871, memory_source=_H20, capability_source=SAME_CHIP
    ),
    part("h20_141gb", "NVIDIA H20-3e", "232c", "9.0", 144384, capability_source=SAME_CHIP),
    part("h800_sxm", "NVIDIA H800", "2324", "9.0", 81920, capability_source=SAME_CHIP),
    part("h800_pcie", "NVIDIA H800 PCIe", "2322", "9.0", 81920, capability_source=SAME_CHIP),
    # Two sizes of the Grace CPU's memory; the GPU's is 96 GB in both.
    part("gh200_96gb", ("NVIDIA GH200 480GB", "NVIDIA GH200 120GB"), "2342", "9.0", 98304),
    part("gh200_144gb", "NVIDIA GH200 144G HBM3e", "2348", "9.0", 147456),
    part("b200", "NVIDIA B200", "2901", "10.0", 183359, memory_source=_B200, nim_tags=("b200",)),
    part("gb200", "NVIDIA GB200", "2941", "10.0", 190464, nim_tags=("gb200",)),
    part("b300", "NVIDIA B300 SXM6 AC", "3182", "10.3", 294912, unverified=("memory_mib",)),
    part("gb300", "NVIDIA GB300", "31c2 31c3", "10.3", 294912, unverified=("memory_mib",)),
)
