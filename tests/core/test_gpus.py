"""Which versions on NGC suit a host."""

import msgspec
import pytest
from test_decide import HOST

from nimctl.core.gpus import suits
from nimctl.core.machine import Gpu, Host
from nimctl.core.ngc import ModelVersion, build_of


def host_with(*devices: str) -> Host:
    gpus = tuple(
        Gpu(index=i, name="GPU", uuid=str(i), pci_device=f"{device}:10de", compute_capability="9.0")
        for i, device in enumerate(devices)
    )
    return msgspec.structs.replace(HOST, gpus=gpus)


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
