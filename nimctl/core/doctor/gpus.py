"""What is said about GPUs and their driver."""

from collections.abc import Iterator, Sequence

from nimctl.core.doctor.check import GPU_BACKENDS, Check, State
from nimctl.core.gpus import part_of
from nimctl.core.gpus.datacenter import DATACENTER
from nimctl.core.machine import Gpu, Host, Trouble

_GPU = "GPU"
_DRIVER = "driver"
_GIB = 2**30
# NIM counts a GPU with more in use as not free: 1-3 % was free and 7 % was not
# (NIM 1.0.x listings; the threshold lies between).
_BUSY_SHARE = 0.05
# NVIDIA documents "above 7.0" for NIM; below, no backend's kernels run.
_LEAST_CAPABILITY = (7, 0)
# Drivers for images with CUDA 13; GPUs of data centres may have an older one
# (docs.nvidia.com/deeplearning/triton-inference-server/release-notes, releases 25.10 and 25.12).
_CUDA_13_DRIVER = 580
_CUDA_13_DATACENTER_DRIVER = 535
_DRIVERS = "https://www.nvidia.com/drivers"

_FIXES = {
    "container-without-gpus": "start the container with --gpus all",
    "driver-failed": "nvidia-smi, and: sudo dmesg | grep -i nvrm",
    "driver-mismatch": "sudo reboot",
    "driver-not-loaded": "sudo modprobe nvidia, and if that fails: sudo dmesg | grep -i nvrm",
    "driver-silent": "sudo dmesg | grep -i -e nvrm -e xid, then: sudo reboot",
    "gpu-lost": "sudo dmesg | grep -i xid, then: sudo reboot",
    "library-missing": f"install the driver again: {_DRIVERS}",
    "mig-without-slices": "sudo nvidia-smi mig -i {gpu} -cgi PROFILE -C, with one of"
    " nvidia-smi mig -i {gpu} -lgip; or without MIG: sudo nvidia-smi -i {gpu} -mig 0",
    "no-driver": "sudo ubuntu-drivers install (Ubuntu)"
    ", or sudo apt-get install nvidia-driver (Debian)",
    "no-permission": "sudo usermod -aG video,render $USER, and log in again",
    "unknown-gpu": f"install a newer driver: {_DRIVERS}",
}


def gpu_checks(host: Host) -> Iterator[Check]:
    """The GPUs in groups of equals, and what keeps them from being used."""
    kinds = list(dict.fromkeys(map(_kind, host.gpus)))
    for kind in kinds:
        yield from _group([gpu for gpu in host.gpus if _kind(gpu) == kind])
    if len(kinds) > 1:
        yield _warning("the GPUs are of different kinds; a model runs on one kind at a time")
    for trouble in host.troubles:
        if trouble.kind in ("gpu-lost", "mig-without-slices", "unknown-gpu"):
            yield _broken(_GPU, trouble, host)
    if not host.gpus and not host.troubles:
        yield Check(
            group=_GPU,
            state=State.OK,
            message="no NVIDIA GPU: models run on the CPU, with llama_cpp",
            stops=GPU_BACKENDS,
        )


def driver_checks(host: Host) -> Iterator[Check]:
    """The driver's version, and why it does not answer."""
    for trouble in host.troubles:
        if trouble.kind not in ("gpu-lost", "mig-without-slices", "unknown-gpu"):
            yield _broken(_DRIVER, trouble, host)
    if host.driver_version is None:
        return
    cuda = f", CUDA {host.cuda_version}" if host.cuda_version else ""
    where = ", of Windows" if host.wsl else ""
    message = f"NVIDIA driver {host.driver_version}{cuda}{where}"
    major, least = host.driver_version.partition(".")[0], _least_driver(host.gpus)
    if major.isdigit() and int(major) < least:
        yield Check(
            group=_DRIVER,
            state=State.WARNING,
            message=f"{message}: images with CUDA 13 need driver {least} or newer",
            fix=f"install a newer driver: {_DRIVERS}",
        )
    else:
        yield Check(group=_DRIVER, state=State.OK, message=message)


def _group(gpus: Sequence[Gpu]) -> Iterator[Check]:
    first = gpus[0]
    count = f"{len(gpus)} x " if len(gpus) > 1 else ""
    each = " each" if len(gpus) > 1 else ""
    facts = [
        f"{count}{first.name} ({first.key or first.pci_device})",
        f"{_gib(first.memory_total_bytes)}{each}"
        + (" shared with the CPU" if first.unified_memory else ""),
        f"compute capability {first.compute_capability}",
    ]
    if any(gpu.nvlink_peers for gpu in gpus):
        facts.append("NVLink")
    line = ", ".join(facts)
    if first.capability <= _LEAST_CAPABILITY:
        yield Check(
            group=_GPU,
            state=State.WARNING,
            message=f"{line}: no backend runs on it, they need more than 7.0",
            stops=GPU_BACKENDS,
        )
    elif part_of(first) is None:
        yield _warning(
            f"{line}: not in nimctl's table, so that profiles for one kind of GPU do not match",
            fix="nimctl --version, and tell us of it",
        )
    else:
        yield Check(group=_GPU, state=State.OK, message=line)
    yield from (_in_use(gpu) for gpu in gpus if _is_busy(gpu))


def _is_busy(gpu: Gpu) -> bool:
    used, total = gpu.memory_used_bytes, gpu.memory_total_bytes
    return bool(used and total and not gpu.unified_memory and used > _BUSY_SHARE * total)


def _in_use(gpu: Gpu) -> Check:
    shown = f"{_gib(gpu.memory_used_bytes)} of {_gib(gpu.memory_total_bytes)}"
    by = "; it drives a display" if gpu.drives_display else ""
    return _warning(f"GPU {gpu.index} has {shown} in use{by}", fix="nvidia-smi shows by what")


def _broken(group: str, trouble: Trouble, host: Host) -> Check:
    return Check(
        group=group,
        state=State.WARNING if host.gpus else State.PROBLEM,
        message=trouble.message,
        fix=_FIXES[trouble.kind].replace(
            "{gpu}", "GPU" if trouble.gpu is None else str(trouble.gpu)
        ),
        stops=() if host.gpus else GPU_BACKENDS,
    )


def _least_driver(gpus: Sequence[Gpu]) -> int:
    """The oldest driver branch that the images need; 0 where it cannot be chosen."""
    # Driver 580 is the last for Volta; Jetsons get theirs with JetPack.
    newer = [gpu for gpu in gpus if gpu.capability > _LEAST_CAPABILITY and gpu.pci_device]
    if not newer:
        return 0
    compatible = all(part_of(gpu) in DATACENTER for gpu in newer)
    return _CUDA_13_DATACENTER_DRIVER if compatible else _CUDA_13_DRIVER


def _warning(message: str, fix: str | None = None) -> Check:
    return Check(group=_GPU, state=State.WARNING, message=message, fix=fix)


def _kind(gpu: Gpu) -> tuple[str, str, str]:
    return gpu.pci_device, gpu.mig_profile or "", gpu.name


def _gib(count: int | None) -> str:
    return "memory unknown" if count is None else f"{count / _GIB:.1f} GiB"
