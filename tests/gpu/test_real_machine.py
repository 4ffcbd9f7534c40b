"""A real GPU machine: what nimctl sees of it, against what nvidia-smi prints; and a recording.

The recording lies in NIMCTL_TEST_RECORD, or in pytest's directory; copied to tests/data/hosts, it
is replayed by tests/adapters/test_host.py.
"""

import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
import recorded
import recorder
from conftest import Run

from nimctl.core.machine import Gpu
from nimctl.host import nvidia_smi, nvml
from nimctl.host.observe import observe
from nimctl.host.probe import Sources
from nimctl.host.reading import Reading

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        shutil.which("nvidia-smi") is None,
        reason="needs an NVIDIA GPU and its driver: there is no nvidia-smi",
    ),
]


def asked(*fields: str) -> list[list[str]]:
    """What nvidia-smi says of each GPU, in MiB and W."""
    done = subprocess.run(
        ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]


def whole(gpus: tuple[Gpu, ...]) -> dict[str, Gpu]:
    return {gpu.uuid: gpu for gpu in gpus if gpu.mig_profile is None}


def test_doctor_sees_what_nvidia_smi_sees(run: Run) -> None:
    report = run("doctor", "--json").json
    gpus = whole(msgspec.convert(report["host"]["gpus"], tuple[Gpu, ...]))
    fields = ("uuid", "index", "name", "memory.total", "compute_cap", "mig.mode.current")
    for uuid, index, name, total_mib, capability, mig in asked(*fields):
        if mig == "Enabled":
            assert uuid not in gpus
            continue
        gpu = gpus[uuid]
        assert (gpu.index, gpu.name, gpu.compute_capability) == (int(index), name, capability)
        assert gpu.key, f"{name} ({gpu.pci_device}) is not in the table"
        if not gpu.unified_memory:
            assert round((gpu.memory_total_bytes or 0) / 2**20) == int(total_mib)
    assert report["host"]["driver_version"] == asked("driver_version")[0][0]
    assert report["host"]["troubles"] == []


def test_doctor_says_it_in_words(run: Run) -> None:
    result = run("doctor")
    for (name,) in asked("name"):
        assert name in result.out


def test_profiles_are_listed_for_the_real_gpus(run: Run, tmp_path: Path) -> None:
    listed = run("list-profiles", "--json").json
    assert listed["host"]["gpus"]
    file = tmp_path / "host.json"
    file.write_text(run("doctor", "--json").out)
    again = run("list-profiles", "--host", file, "--json").json
    assert [model["model"] for model in again["models"]] == [
        model["model"] for model in listed["models"]
    ]


def test_nvml_and_nvidia_smi_agree_on_the_real_machine() -> None:
    import pynvml  # noqa: PLC0415 - only where a driver is

    by_nvml = msgspec.convert(nvml.read(pynvml), Reading)
    by_program = nvidia_smi.read("nvidia-smi", timeout_s=60)
    assert by_program is not None
    assert by_program.driver_version == by_nvml.driver_version
    for one, other in zip(by_nvml.gpus, by_program.gpus, strict=True):
        assert (one.uuid, one.pci_device, one.mig_enabled) == (
            other.uuid,
            other.pci_device,
            other.mig_enabled,
        )
        assert one.nvlink_peers == other.nvlink_peers
        assert [piece.uuid for piece in one.slices] == [piece.uuid for piece in other.slices]


def test_the_machine_is_recorded_and_the_recording_replays(tmp_path: Path) -> None:
    import pynvml  # noqa: PLC0415

    directory = Path(os.environ.get("NIMCTL_TEST_RECORD", tmp_path / "recording"))
    recorder.record(directory, pynvml, about=asked("name")[0][0])
    real = observe(tmp_path, Sources(search_path=os.environ["PATH"]))
    replayed = observe(tmp_path, recorded.sources_of(directory, tmp_path / "replay"))
    assert [gpu.key for gpu in replayed.gpus] == [gpu.key for gpu in real.gpus]
    assert [gpu.nvlink_peers for gpu in replayed.gpus] == [gpu.nvlink_peers for gpu in real.gpus]
    assert [gpu.mig_profile for gpu in replayed.gpus] == [gpu.mig_profile for gpu in real.gpus]
