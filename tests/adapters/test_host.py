"""The machine as it is, and recorded machines by way of real programs."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import recorded
import recorder
from nvml_replay import Nvml
from recorded import names, sources

from nimctl.core.gpus import by_key
from nimctl.core.machine import Gpu, Host
from nimctl.host import nvidia_smi, nvml, probe, programs
from nimctl.host.observe import observe
from nimctl.host.probe import Sources
from nimctl.host.reading import GpuReading, Reading

GIB = 2**30
# Its NVML cannot be loaded, so that nvidia-smi is asked.
WITHOUT_NVML = (sys.executable, "-c", 'print(\'{"error": "no library", "error_code": 12}\')')


class Expected(NamedTuple):
    """Keys of the usable GPUs, kinds of what is broken, and whether nvidia-smi says the same."""

    keys: tuple[str | None, ...] = ()
    troubles: tuple[str, ...] = ()
    by_program: bool = True


EXPECTED = {
    "a100-mig": Expected(("a100_sxm_80gb",) * 7),
    "a10g-cloud": Expected(("a10g",)),
    "b200-8": Expected(("b200",) * 8),
    "container-without-gpus": Expected((), ("container-without-gpus",)),
    "dgx-a100": Expected(("a100_sxm_40gb",) * 8),
    "dgx-h100": Expected(("h100_sxm",) * 8),
    "driver-hangs": Expected((), ("driver-silent",)),
    "driver-mismatch": Expected((), ("driver-mismatch",)),
    "driver-not-loaded": Expected((), ("driver-not-loaded",)),
    "gb10": Expected(("gb10",)),
    "gpu-lost": Expected(("a100_sxm_80gb",) * 2, ("gpu-lost",), by_program=False),
    "gpu-without-driver": Expected((), ("no-driver",)),
    "h100-and-t600": Expected(("h100_sxm", "t600")),
    "h100-mig-mixed": Expected(("h100_sxm",) * 4, ("mig-without-slices",)),
    "jetson-orin": Expected(("jetson_orin",)),
    "jetson-orin-jetpack-5": Expected(("jetson_orin",)),
    "l40s-pcie-4": Expected(("l40s",) * 4),
    "no-gpu": Expected(),
    "nvml-crashes": Expected(("l4",)),
    "rtx-4000-sff-ada": Expected(("rtx_4000_sff_ada",)),
    "rtx-4090-display": Expected(("rtx_4090",)),
    "rtx-5090": Expected(("rtx_5090",)),
    "t4-cloud": Expected(("t4",)),
    "wsl-rtx-3060-laptop": Expected(("rtx_3060_laptop",)),
}


def machine(name: str, tmp_path: Path, **changes: Any) -> Host:
    """A recorded machine as nimctl sees it."""
    return observe(tmp_path, msgspec.structs.replace(sources(name, tmp_path / name), **changes))


def test_every_recording_is_expected_and_tells_where_it_is_from() -> None:
    assert names() == sorted(EXPECTED)
    assert len(names()) >= 12
    for name in names():
        recording = recorded.load(name)
        assert recording["about"]
        assert recording["sources"] or recording["composed"], name


@pytest.mark.parametrize("name", names())
def test_nvml_tells_what_a_recorded_machine_has(name: str, tmp_path: Path) -> None:
    host = machine(name, tmp_path)
    keys, troubles, _ = EXPECTED[name]
    assert tuple(gpu.key for gpu in host.gpus) == keys
    assert tuple(trouble.kind for trouble in host.troubles) == troubles


@pytest.mark.parametrize("name", [name for name in names() if EXPECTED[name].by_program])
def test_nvidia_smi_tells_what_a_recorded_machine_has(name: str, tmp_path: Path) -> None:
    host = machine(name, tmp_path, nvml=WITHOUT_NVML)
    keys, troubles, _ = EXPECTED[name]
    assert tuple(gpu.key for gpu in host.gpus) == keys
    assert tuple(trouble.kind for trouble in host.troubles) == troubles


def answering_both_ways() -> list[str]:
    """Recordings with NVML's answers and nvidia-smi's."""
    recordings = {name: recorded.load(name) for name in names() if EXPECTED[name].by_program}
    return [
        name
        for name, one in recordings.items()
        if isinstance(one["nvml"], dict) and isinstance(one["nvidia_smi"], dict)
    ]


@pytest.mark.parametrize("name", answering_both_ways())
def test_nvml_and_nvidia_smi_agree(name: str, tmp_path: Path) -> None:
    by_nvml = machine(name, tmp_path / "nvml")
    by_program = machine(name, tmp_path / "smi", nvml=WITHOUT_NVML)
    assert by_program.driver_version == by_nvml.driver_version
    assert by_program.cuda_version == by_nvml.cuda_version
    assert len(by_program.gpus) == len(by_nvml.gpus)
    for one, other in zip(by_nvml.gpus, by_program.gpus, strict=True):
        assert without_rounding(one) == without_rounding(other)


def without_rounding(gpu: Gpu) -> Gpu:
    """Used and free memory may differ by a MiB: nvidia-smi rounds each."""
    mib = round((gpu.memory_free_bytes or 0) / 2**20, -1)
    return msgspec.structs.replace(gpu, memory_used_bytes=None, memory_free_bytes=mib)


def test_eight_gpus_on_nvswitch_reach_each_other_and_have_numa_nodes(tmp_path: Path) -> None:
    host = machine("dgx-h100", tmp_path)
    assert (host.driver_version, host.cuda_version) == ("535.129.03", "12.2")
    assert [gpu.numa_node for gpu in host.gpus] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert host.gpus[3].nvlink_peers == (0, 1, 2, 4, 5, 6, 7)
    first = host.gpus[0]
    assert (first.pci_device, first.compute_capability) == ("2330:10de", "9.0")
    assert (first.ecc, first.power_limit_w, first.drives_display) == (True, 700, False)
    assert first.memory_total_bytes == 81559 * 2**20


def test_gpus_on_pcie_have_no_links(tmp_path: Path) -> None:
    host = machine("l40s-pcie-4", tmp_path)
    assert all(gpu.nvlink_peers == () for gpu in host.gpus)


def test_slices_stand_for_a_gpu_in_mig_mode(tmp_path: Path) -> None:
    gpus = machine("a100-mig", tmp_path).gpus
    assert [gpu.index for gpu in gpus] == [0, 0, 0, 0, 1, 2, 3]
    piece = gpus[0]
    assert (piece.mig_profile, piece.memory_total_bytes) == ("1g.20gb", 19968 * 2**20)
    assert piece.uuid == "MIG-ce861fb0-a248-58ce-a9a8-f9adbc22a66a"
    assert piece.name == "NVIDIA A100-SXM4-80GB MIG 1g.20gb"
    assert piece.nvlink_peers == ()
    assert gpus[4].mig_profile is None


def test_a_slice_without_a_name_is_known_by_its_attributes(tmp_path: Path) -> None:
    host = machine("h100-mig-mixed", tmp_path)
    assert [gpu.mig_profile for gpu in host.gpus] == ["3g.40gb", "2g.20gb", "1c.2g.20gb", None]
    assert "GPU 2" in host.troubles[0].message


@pytest.mark.parametrize("name", ["gb10", "jetson-orin", "jetson-orin-jetpack-5"])
def test_a_part_that_shares_memory_has_the_hosts(name: str, tmp_path: Path) -> None:
    host = machine(name, tmp_path)
    gpu = host.gpus[0]
    assert gpu.unified_memory
    assert gpu.memory_total_bytes == host.memory_total_bytes
    assert gpu.memory_free_bytes == host.memory_available_bytes
    assert (gpu.memory_used_bytes or 0) + host.memory_available_bytes == host.memory_total_bytes


def test_a_display_is_seen_with_the_memory_that_it_takes(tmp_path: Path) -> None:
    gpu = machine("rtx-4090-display", tmp_path).gpus[0]
    assert gpu.drives_display
    assert gpu.memory_used_bytes == 2310 * 2**20


def test_wsl_is_seen_and_a_cuda_version_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    host = machine("wsl-rtx-3060-laptop", tmp_path)
    assert host.wsl
    assert host.cuda_version is None
    assert not machine("rtx-5090", tmp_path).wsl


def test_a_hidden_pci_device_is_taken_from_the_table(tmp_path: Path) -> None:
    assert machine("a10g-cloud", tmp_path, nvml=WITHOUT_NVML).gpus[0].pci_device == "2237:10de"


def test_a_driver_that_hangs_is_given_up_and_its_process_ended(tmp_path: Path) -> None:
    def running() -> list[str]:
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
        return [line for line in listed.stdout.splitlines() if marker in line]

    marker = f"{600 + os.getpid() / 1e6:.6f}"
    began = time.monotonic()
    answer = programs.ask(["sh", "-c", f"sleep {marker} & wait"], timeout_s=0.2)
    assert answer.late
    assert time.monotonic() - began < 60, "it waited for the program's own end"
    assert not running()
    assert machine("driver-hangs", tmp_path).gpus == ()


def test_a_program_that_cannot_start_is_an_answer_too() -> None:
    answer = programs.ask(["/nowhere/program"], timeout_s=1)
    assert (answer.code, answer.late) == (None, False)
    assert "No such file" in answer.err


def test_nothing_is_started_where_nothing_hints_at_a_driver(tmp_path: Path) -> None:
    canary = tmp_path / "started"
    nowhere = Sources(
        root=str(tmp_path / "root"), search_path=str(tmp_path), nvml=("touch", str(canary))
    )
    assert probe.look(nowhere, (0, 0)) == probe.Found()
    assert not canary.exists()


def test_the_real_binding_answers_where_no_driver_is() -> None:
    answer = programs.ask(Sources().nvml, timeout_s=60)
    reading = msgspec.json.decode(answer.out, type=Reading)
    assert reading.gpus or reading.error_code in (9, 12), reading


@pytest.mark.parametrize("text", [str, str.encode], ids=["text", "bytes of older bindings"])
def test_the_binding_may_give_text_or_bytes(text: Any) -> None:
    answers = recorded.load("dgx-h100")["nvml"]
    assert nvml.read(Nvml(answers, text)) == nvml.read(Nvml(answers))


def test_a_gpu_that_the_table_lacks_needs_a_compute_capability(tmp_path: Path) -> None:
    unknown = GpuReading(index=0, name="NVIDIA X1", pci_device="ffff:10de", memory_total_bytes=GIB)
    gpus, troubles = probe.conclude(unknown, tmp_path, (GIB, GIB))
    assert (list(gpus), [trouble.kind for trouble in troubles]) == ([], ["unknown-gpu"])
    told = msgspec.structs.replace(unknown, compute_capability="13.0")
    gpus, troubles = probe.conclude(told, tmp_path, (GIB, GIB))
    assert (gpus[0].key, gpus[0].capability, list(troubles)) == (None, (13, 0), [])


def test_nvidia_smi_is_asked_for_the_capability_of_an_unknown_gpu(tmp_path: Path) -> None:
    document = (recorded.DIRECTORY / "rtx-5090" / "q-x.xml").read_text()
    new = document.replace("NVIDIA GeForce RTX 5090", "NVIDIA X1").replace("2B8510DE", "FFFF10DE")
    (tmp_path / "new.xml").write_text(new)
    program = tmp_path / "nvidia-smi"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in "-q -x") cat {tmp_path}/new.xml ;;'
        ' "--query-gpu=compute_cap --format=csv,noheader") echo 13.0 ;; esac\n'
    )
    program.chmod(0o755)
    reading = nvidia_smi.read(str(program), timeout_s=60)
    assert reading is not None
    assert [gpu.compute_capability for gpu in reading.gpus] == ["13.0"]


@pytest.mark.parametrize(
    ("says", "error"),
    [("", "no XML"), ("<nvidia_smi_log>", "no XML"), ("\x00\xff", "no XML")],
)
def test_an_answer_that_is_no_document_is_an_error(says: str, error: str, tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '%s' '{says}'\n")
    program.chmod(0o755)
    reading = nvidia_smi.read(str(program), timeout_s=60)
    assert reading is not None
    assert error in (reading.error or "")


def test_links_are_read_off_the_topology() -> None:
    table = (recorded.DIRECTORY / "a100-mig" / "topo-m.txt").read_text()
    assert nvidia_smi.parse_links(table)[2] == (0, 1, 3)
    with_nics = (
        "\tGPU0\tGPU1\tNIC0\nGPU0\t X \tNV12\tPXB\nGPU1\tNV12\t X \tNV1\nNIC0\tPXB\tNV1\t X\n"
    )
    assert nvidia_smi.parse_links(with_nics) == {0: (1,), 1: (0,)}
    assert nvidia_smi.parse_links("") == {}
    assert nvidia_smi.parse_links("Failed to run topology matrix") == {}


def test_the_recorded_parts_report_what_the_table_says(tmp_path: Path) -> None:
    for name in ("a100-mig", "t4-cloud", "a10g-cloud", "rtx-4000-sff-ada"):
        gpu = machine(name, tmp_path, nvml=WITHOUT_NVML).gpus[-1]
        part = by_key(gpu.key or "")
        assert part is not None
        assert gpu.memory_total_bytes == part.memory_bytes


def test_this_machine_is_observed(tmp_path: Path) -> None:
    seen = observe(tmp_path / "not" / "there" / "yet")
    assert seen.system == "linux"
    assert 1 <= seen.cpu.cores <= seen.cpu.threads <= (os.cpu_count() or 1)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < seen.memory_available_bytes <= seen.memory_total_bytes <= pages
    stat = os.statvfs(tmp_path)
    assert seen.disk_free_bytes == pytest.approx(stat.f_bavail * stat.f_frsize, rel=0.2)
    assert seen.embedded.version
    assert seen.embedded.libgomp


def test_a_cgroup_limits_memory_and_processors(tmp_path: Path) -> None:
    cgroup = tmp_path / "sys/fs/cgroup"
    cgroup.mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 8388608 kB\nMemAvailable: 6291456 kB\n")
    (cgroup / "memory.max").write_text(f"{2 * GIB}\n")
    (cgroup / "memory.current").write_text(f"{GIB}\n")
    (cgroup / "cpu.max").write_text("100000 100000\n")
    host = observe(tmp_path, Sources(root=str(tmp_path)))
    assert (host.memory_total_bytes, host.memory_available_bytes) == (2 * GIB, GIB)
    assert host.cpu.threads == 1


@pytest.mark.parametrize("name", ["dgx-h100", "a100-mig", "h100-mig-mixed", "gb10", "jetson-orin"])
def test_a_recorder_writes_down_what_it_is_told(name: str) -> None:
    answers = recorded.load(name)["nvml"]
    written = recorder.nvml_answers(Nvml(answers))
    assert nvml.read(Nvml(written)) == nvml.read(Nvml(answers))


def test_a_recorder_leaves_out_what_would_tell_machines_apart() -> None:
    document = (
        "<nvidia_smi_log><gpu><product_name>X</product_name><serial>123</serial>"
        "<processes><process_info><process_name>secret</process_name></process_info></processes>"
        "</gpu></nvidia_smi_log>"
    )
    kept = recorder.trimmed(document)
    assert nvidia_smi.parse(kept).gpus[0].name == "X"
    assert "123" not in kept
    assert "secret" not in kept
