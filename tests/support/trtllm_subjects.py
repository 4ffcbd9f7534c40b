"""Models and GPUs that engines are designed for in tests."""

import json
from pathlib import Path
from typing import Any

import msgspec
from architectures import LLAMA_8B

from nimctl.core.gpus import GpuPart, by_key
from nimctl.core.machine import Cpu, Gpu, Host
from nimctl.core.profile import Profile
from nimctl.core.trtllm.design import Workshop
from nimctl.core.trtllm.releases import BUILDER_IMAGE, BUILDER_VERSION, builder_name
from nimctl.core.trtllm.subject import Calibration, Form, Subject

FLAGS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "data" / "trtllm_flags.json").read_text()
)
SHOP = Workshop(
    builder=builder_name(BUILDER_IMAGE), image=BUILDER_IMAGE, programs="/opt/nimctl/programs"
)
CALIBRATION = Calibration(path="/data/texts.jsonl", sha256="c" * 64, size=4096)
LLAMA = msgspec.structs.replace(LLAMA_8B, class_name="LlamaForCausalLM")
GIB = 2**30


def gpus(key: str, count: int = 1, free_bytes: int | None = None) -> tuple[Gpu, ...]:
    """GPUs of the table, empty unless told otherwise."""
    part = by_key(key)
    assert part is not None
    return tuple(gpu_of(part, index, free_bytes) for index in range(count))


def gpu_of(part: GpuPart, index: int = 0, free_bytes: int | None = None) -> Gpu:
    """One GPU of a kind."""
    return Gpu(
        index=index,
        name=part.names[0],
        uuid=f"GPU-{index:08d}",
        pci_device=f"{(*part.pci_devices, 'ffff')[0]}:10de",
        compute_capability=part.compute_capability,
        key=part.key,
        memory_total_bytes=part.memory_bytes,
        memory_free_bytes=part.memory_bytes if free_bytes is None else free_bytes,
        unified_memory=part.unified_memory,
    )


def subject(
    precision: str = "fp8",
    *,
    gpu: str = "h100_sxm",
    tp: int = 1,
    pp: int = 1,
    target: str | None = "throughput",
    class_name: str | None = "LlamaForCausalLM",
    form: Form = "checkpoint",
    version: str = BUILDER_VERSION,
) -> Subject:
    """A Llama of 8 B on H100, or what is said instead."""
    chosen = gpus(gpu, tp * pp)
    return Subject(
        model="llama-3.1-8b-instruct",
        profile=Profile(
            backend="tensorrt_llm", precision=precision, tp=tp, pp=pp, target=target, build=True
        ),
        architecture=msgspec.structs.replace(LLAMA, class_name=class_name),
        form=form,
        gpus=chosen,
        memory_bytes=chosen[0].memory_total_bytes or 128 * GIB,
        version=version,
    )


def host(*devices: Gpu, memory_gib: int = 256, disk_gib: int = 500, driver: str = "580.95") -> Host:
    """A machine with these GPUs."""
    return Host(
        system="Linux",
        cpu=Cpu(model="EPYC", architecture="x86_64", cores=32, threads=64),
        memory_total_bytes=memory_gib * GIB,
        memory_available_bytes=memory_gib * GIB,
        disk_free_bytes=disk_gib * GIB,
        gpus=devices,
        driver_version=driver,
    )
