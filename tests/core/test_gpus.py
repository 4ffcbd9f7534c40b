"""The table of GPUs against its sources, and the questions that it answers."""

from pathlib import Path

import msgspec
import pytest
from test_decide import HOST

from nimctl.core.errors import UsageError
from nimctl.core.gpus import PARTS, by_device, by_key, by_name, find, identify, keys, means, suits
from nimctl.core.gpus.part import KERNEL_MODULES
from nimctl.core.machine import Gpu, Host
from nimctl.core.ngc import ModelVersion, build_of

DEVICES = Path(__file__).parent.parent / "data" / "gpus" / "devices.tsv"


def recorded_devices() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Device to its name in pci.ids and its names in NVIDIA's kernel modules."""
    lines = DEVICES.read_text(encoding="utf-8").splitlines()[1:]
    rows = (line.split("\t") for line in lines)
    return {device: (name, tuple(filter(None, names.split("; ")))) for device, name, names in rows}


def gpu_of(device: str, name: str = "GPU", *, mig_profile: str | None = None) -> Gpu:
    return Gpu(
        index=0,
        name=name,
        uuid="GPU-1",
        pci_device=f"{device}:10de",
        compute_capability="9.0",
        mig_profile=mig_profile,
    )


def host_with(*devices: str) -> Host:
    return msgspec.structs.replace(HOST, gpus=tuple(gpu_of(device) for device in devices))


def test_every_part_has_a_key_of_its_own_and_sources() -> None:
    assert len(set(keys())) == len(PARTS) >= 40
    for part in PARTS:
        assert part.key == part.key.lower().replace("-", "_"), part.key
        assert part.names, part.key
        assert part.source, part.key
        assert part.name_source, part.key
        assert part.capability_source, part.key
        assert part.memory_mib is not None or part.unified_memory, part.key


def test_every_device_is_on_the_pci_id_list() -> None:
    recorded = recorded_devices()
    assert {device for part in PARTS for device in part.pci_devices} == set(recorded)


@pytest.mark.parametrize(
    "part", [one for one in PARTS if one.name_source == KERNEL_MODULES], ids=lambda one: one.key
)
def test_names_are_those_of_the_driver(part: object) -> None:
    recorded = recorded_devices()
    assert isinstance(part, type(PARTS[0]))
    of_driver = {name for device in part.pci_devices for name in recorded[device][1]}
    assert set(part.names) <= of_driver


def test_a_device_and_a_name_stand_for_one_part_unless_its_memory_differs() -> None:
    seen: dict[tuple[str, str], set[int | None]] = {}
    for part in PARTS:
        for device in part.pci_devices:
            for name in part.names:
                sizes = seen.setdefault((device, name), set())
                assert part.memory_mib not in sizes, part.key
                sizes.add(part.memory_mib)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("h100_sxm", "h100_sxm"),
        ("H100_SXM", "h100_sxm"),
        ("RTX-4090", "rtx_4090"),
        ("H100 SXM", "h100_sxm"),
        ("NVIDIA L40S", "l40s"),
        ("nvidia l40s", "l40s"),
        ("26b9:10de", "l40s"),
        ("26B9:10DE", "l40s"),
        ("NVIDIA GeForce RTX 4090", "rtx_4090"),
        ("NVIDIA A100-SXM4-80GB", "a100_sxm_80gb"),
        ("Orin (nvgpu)", "jetson_orin"),
    ],
)
def test_a_person_names_a_part_by_key_name_or_device(text: str, key: str) -> None:
    assert find(text).key == key


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("h100", "h100_sxm, h100_sxm_94gb, h100_pcie, h100_nvl"),
        ("h100_smx", "h100_sxm"),
        ("L40", None),
        ("NVIDIA L40T", "l40"),
        ("rtx 4090 ti", "rtx_4090"),
        ("H100 80GB", "h100_sxm"),
        ("dgx_h100", "h100_sxm"),
        ("25b6:10de", "a16, a2"),
        ("NVIDIA GeForce RTX 3080", "rtx_3080, rtx_3080_12gb"),
        ("ffff:10de", "h100_sxm"),
        ("2330:1002", "h100_sxm"),
        ("zzzz", "NVML's name"),
    ],
)
def test_a_wrong_name_is_answered_by_near_ones(text: str, near: str | None) -> None:
    if near is None:
        assert find(text).key == text.lower()
        return
    with pytest.raises(UsageError) as caught:
        find(text)
    assert near in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("device", "name", "memory_gib", "key"),
    [
        ("2330:10de", "NVIDIA H100 80GB HBM3", 79.6, "h100_sxm"),
        ("2330:10de", "a name of tomorrow", None, "h100_sxm"),
        ("25b6:10de", "NVIDIA A2", 15.0, "a2"),
        ("25b6:10de", "NVIDIA A16", 15.0, "a16"),
        ("2bb3:10de", "NVIDIA RTX PRO 5000 72GB Blackwell", None, "rtx_pro_5000_72gb"),
        ("2d04:10de", "NVIDIA GeForce RTX 5060 Ti", 15.9, "rtx_5060_ti_16gb"),
        ("2d04:10de", "NVIDIA GeForce RTX 5060 Ti", 7.9, "rtx_5060_ti_8gb"),
        ("2206:10de", "NVIDIA GeForce RTX 3080", 10.0, "rtx_3080"),
        ("220a:10de", "NVIDIA GeForce RTX 3080", 12.0, "rtx_3080_12gb"),
        ("ffff:10de", "NVIDIA L4", 22.5, "l4"),
        ("ffff:10de", "NVIDIA L400", 22.5, None),
        ("2330:1002", "AMD", None, None),
        ("", "Orin (nvgpu)", None, "jetson_orin"),
    ],
)
def test_an_observed_gpu_is_known_by_device_then_name_then_memory(
    device: str, name: str, memory_gib: float | None, key: str | None
) -> None:
    memory = None if memory_gib is None else round(memory_gib * 2**30)
    part = identify(pci_device=device, name=name, memory_bytes=memory)
    assert (part.key if part else None) == key


def test_no_name_matches_by_a_part_of_it() -> None:
    assert by_name("NVIDIA A10") == (by_key("a10"),)
    assert by_name("A10") == ()
    assert by_device("20b2") == by_device("20B2:10de") == (by_key("a100_sxm_80gb"),)


@pytest.mark.parametrize(
    ("device", "tag", "gpu_device", "meant"),
    [
        ("2330", "h100", None, True),
        ("2330", "H100", None, True),
        ("2330", "H100_HBM3_80GB", None, True),
        ("2330", "h100_sxm", None, True),
        ("2330", "h100_nvl", None, False),
        ("2331", "h100", None, False),
        ("2331", "h100pcie", None, True),
        ("2236", "a10g", None, False),
        ("2236", "a100", None, False),
        ("20b2", "A100", "20b2:10de", True),
        ("20b5", "A100", "20b2:10de", False),
        ("26b9", "L40S", "26b5:10de", False),
        ("26b9", None, "26B9:10DE", True),
        ("26b9", None, None, False),
        ("ffff", "h100", None, False),
    ],
)
def test_a_profile_means_a_gpu_by_device_or_else_by_its_exact_tag(
    device: str, tag: str | None, gpu_device: str | None, *, meant: bool
) -> None:
    assert means(gpu_of(device), tag=tag, device=gpu_device) is meant


def test_a_slice_is_not_what_a_profile_for_the_whole_gpu_means() -> None:
    assert not means(gpu_of("2330", mig_profile="3g.40gb"), tag="h100")
    assert not means(gpu_of("2330", mig_profile="3g.40gb"), device="2330:10de")


@pytest.mark.parametrize(
    ("gpu", "count", "devices", "fits"),
    [
        ("H100", 1, ("2330",), True),
        ("h100", 1, ("2330",), True),
        ("H100", 1, ("2321",), False),
        ("H100_NVL", 1, ("2321",), True),
        ("H100", 2, ("2330",), False),
        ("H100", 2, ("2330", "2330"), True),
        ("A100", 1, ("20b5",), True),
        ("A10", 1, ("20b2",), False),
        ("Z9000", 1, ("2330",), False),
        ("L40S", 1, (), False),
        (None, None, (), None),
    ],
)
def test_a_version_suits_a_host_with_enough_of_its_gpus(
    gpu: str | None, count: int | None, devices: tuple[str, ...], *, fits: bool | None
) -> None:
    version = ModelVersion(version="1", gpu=gpu, gpu_count=count)
    assert suits(version, host_with(*devices)) is fits


@pytest.mark.parametrize(
    ("name", "devices", "fits"),
    [
        ("LLAMA-2-7B-4K-FP16-1-A100.24.01", ("20b2",), True),
        ("LLAMA-2-7B-4K-FP16-1-A100.24.01", ("2330",), False),
        ("LLAMA-2-70B-CHAT-4K-FP16-4-H100.24.02", ("2330",) * 4, True),
        ("LLAMA-2-70B-CHAT-4K-FP16-4-H100.24.02", ("2330",) * 3, False),
    ],
)
def test_the_name_of_an_early_access_version_tells_whether_it_suits(
    name: str, devices: tuple[str, ...], *, fits: bool
) -> None:
    build = build_of(name)
    version = ModelVersion(version=name, gpu=build.gpu, gpu_count=build.gpu_count)
    assert suits(version, host_with(*devices)) is fits
