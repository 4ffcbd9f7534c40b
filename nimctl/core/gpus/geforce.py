"""GeForce parts of the 16, 20, 30, 40 and 50 series. Laptop parts have names and keys of their own.

Where NVML has one name for two sizes of memory, the PCI device tells them apart.
"""

from nimctl.core.gpus.part import SAME_CHIP, GpuPart, part

_RTX_3060 = "https://github.com/geerlingguy/raspberry-pi-pcie-devices/issues/790"
_RTX_3060_LAPTOP = "https://github.com/microsoft/WSL/issues/11589"
_RTX_3080 = "https://github.com/influxdata/telegraf (nvidia_smi/testdata/rtx-3080-v13.xml)"
_RTX_3090 = "https://github.com/nanoporetech/dorado/issues/272"
_RTX_4070 = "https://github.com/Frogging-Family/nvidia-all/pull/212"
_RTX_4090 = "https://github.com/RLinf/RLinf/issues/255"
_RTX_5070 = "https://github.com/shkhln/libc6-shim/issues/14"
_RTX_5090 = "https://github.com/noonghunna/club-3090/issues/617"


def _geforce(
    key: str, pci: str, capability: str, memory_mib: int, memory_source: str | None = None
) -> GpuPart:
    # The page lists some desktop parts by name; all others have one of their chips.
    return part(
        key,
        f"NVIDIA GeForce {_title(key)}",
        pci,
        capability,
        memory_mib,
        memory_source=memory_source,
        capability_source=SAME_CHIP,
        # Versions on NGC are named so: `rtx4090`.
        nim_tags=(key.replace("_", "", 1),),
    )


def _title(key: str) -> str:
    words = {"ti": "Ti", "laptop": "Laptop GPU", "d": "D"}
    shown = [word for word in key.split("_") if not word.endswith("gb")]
    return " ".join(words.get(word, word.upper()) for word in shown)


GEFORCE: tuple[GpuPart, ...] = (
    _geforce("gtx_1650", "1f82 1f0a 2188", "7.5", 4096),
    _geforce("gtx_1650_super", "2187", "7.5", 4096),
    _geforce("gtx_1660", "2184", "7.5", 6144),
    _geforce("gtx_1660_super", "21c4", "7.5", 6144),
    # 2191 and 21d1 are the laptop's, which NVML calls the same.
    _geforce("gtx_1660_ti", "2182 2191 21d1", "7.5", 6144),
    _geforce("rtx_2060", "1f08 1e89", "7.5", 6144),
    _geforce("rtx_2060_12gb", "1f03", "7.5", 12288),
    _geforce("rtx_2060_super", "1f06 1f42 1f47", "7.5", 8192),
    _geforce("rtx_2070", "1f02 1f07", "7.5", 8192),
    _geforce("rtx_2070_super", "1e84 1ec2 1ec7", "7.5", 8192),
    _geforce("rtx_2080", "1e82 1e87", "7.5", 8192),
    _geforce("rtx_2080_super", "1e81", "7.5", 8192),
    _geforce("rtx_2080_ti", "1e04 1e07", "7.5", 11264),
    _geforce("rtx_3050_6gb", "2584", "8.6", 6144),
    _geforce("rtx_3050_8gb", "2507 2582", "8.6", 8192),
    _geforce("rtx_3060", "2503 2504 2487 2544", "8.6", 12288, _RTX_3060),
    _geforce("rtx_3060_8gb", "24c7", "8.6", 8192),
    _geforce("rtx_3060_ti", "2486 2489 2414 24c9", "8.6", 8192),
    _geforce("rtx_3070", "2484 2488", "8.6", 8192),
    _geforce("rtx_3070_ti", "2482 2207", "8.6", 8192),
    _geforce("rtx_3080", "2206 2216", "8.6", 10240, _RTX_3080),
    _geforce("rtx_3080_12gb", "220a", "8.6", 12288),
    _geforce("rtx_3080_ti", "2208", "8.6", 12288),
    _geforce("rtx_3090", "2204", "8.6", 24576, _RTX_3090),
    _geforce("rtx_3090_ti", "2203", "8.6", 24576),
    _geforce("rtx_4060", "2882 2808", "8.9", 8192),
    _geforce("rtx_4060_ti", "2803 2788", "8.9", 8192),
    _geforce("rtx_4060_ti_16gb", "2805", "8.9", 16384),
    _geforce("rtx_4070", "2786 2709", "8.9", 12282, _RTX_4070),
    _geforce("rtx_4070_super", "2783", "8.9", 12288),
    _geforce("rtx_4070_ti", "2782", "8.9", 12288),
    _geforce("rtx_4070_ti_super", "2705 2689", "8.9", 16384),
    _geforce("rtx_4080", "2704", "8.9", 16384),
    _geforce("rtx_4080_super", "2702 2703", "8.9", 16384),
    _geforce("rtx_4090", "2684", "8.9", 24564, _RTX_4090),
    _geforce("rtx_4090_d", "2685", "8.9", 24576),
    _geforce("rtx_5050", "2d83", "12.0", 8192),
    _geforce("rtx_5060", "2d05 2f06", "12.0", 8192),
    # Sold with 8 and with 16 GB under one name and one device id: the larger is only planned for.
    _geforce("rtx_5060_ti_8gb", "2d04", "12.0", 8192),
    _geforce("rtx_5060_ti_16gb", "2d04", "12.0", 16384),
    _geforce("rtx_5070", "2f04", "12.0", 12227, _RTX_5070),
    _geforce("rtx_5070_ti", "2c05", "12.0", 16384),
    _geforce("rtx_5080", "2c02", "12.0", 16384),
    _geforce("rtx_5090", "2b85", "12.0", 32607, _RTX_5090),
    _geforce("rtx_5090_d", "2b87", "12.0", 32768),
    _geforce("rtx_3050_laptop", "25a2 25a5 25e2 25e5", "8.6", 4096),
    _geforce("rtx_3050_ti_laptop", "25a0 25e0 2523 2563", "8.6", 4096),
    _geforce("rtx_3060_laptop", "2520 2560 2521 2561", "8.6", 6144, _RTX_3060_LAPTOP),
    _geforce("rtx_3070_laptop", "249d 24dd", "8.6", 8192),
    _geforce("rtx_3070_ti_laptop", "24a0 24e0", "8.6", 8192),
    # Sold with 8 and with 16 GB.
    _geforce("rtx_3080_laptop", "249c 24dc", "8.6", 8192),
    _geforce("rtx_3080_ti_laptop", "2420 2460", "8.6", 16384),
    _geforce("rtx_4050_laptop", "28a1 28e1", "8.9", 6144),
    _geforce("rtx_4060_laptop", "28a0 28e0", "8.9", 8192),
    _geforce("rtx_4070_laptop", "2820 2860", "8.9", 8192),
    _geforce("rtx_4080_laptop", "27a0 27e0", "8.9", 12288),
    _geforce("rtx_4090_laptop", "2717 2757", "8.9", 16384),
    _geforce("rtx_5050_laptop", "2d98 2dd8", "12.0", 8192),
    _geforce("rtx_5060_laptop", "2d19 2d59", "12.0", 8192),
    _geforce("rtx_5070_laptop", "2d18 2d58", "12.0", 8192),
    _geforce("rtx_5070_ti_laptop", "2f18 2f58", "12.0", 12288),
    _geforce("rtx_5080_laptop", "2c19 2c59", "12.0", 16384),
    _geforce("rtx_5090_laptop", "2c18 2c58", "12.0", 24576),
)
