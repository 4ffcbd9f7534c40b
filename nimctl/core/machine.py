"""Machines: what nimctl chooses by, whether it was observed or is only planned for."""

from typing import Literal

from nimctl.core.value import Value


def capability_of(text: str) -> tuple[int, int]:
    """A compute capability as numbers that compare: `9.0` is (9, 0)."""
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


class Cpu(Value):
    """The processor, as far as this process may use it.

    `cores` are physical cores, `threads` the hardware threads that the process may run on
    (affinity and cgroup quota considered). `features` are the kernel's flag names.
    """

    model: str
    architecture: str
    cores: int
    threads: int
    features: tuple[str, ...] = ()


class Gpu(Value):
    """One GPU, or one MIG slice of a GPU, that a process can be given.

    `key` is nimctl's name for the kind (`h100_sxm`), None for a part that its table lacks.
    `pci_device` is device and vendor in hex, `2330:10de`; empty for a part that is on no bus.
    Memory in bytes, the host's where the part shares it (`unified_memory`), None where nothing
    tells. A slice has a `mig_profile` (`3g.40gb`), a `uuid` that
    begins with `MIG-`, and the `index` of the GPU that it is cut from. `nvlink_peers` are indices.
    """

    index: int
    name: str
    uuid: str
    pci_device: str
    compute_capability: str
    key: str | None = None
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    memory_free_bytes: int | None = None
    unified_memory: bool = False
    mig_profile: str | None = None
    numa_node: int | None = None
    nvlink_peers: tuple[int, ...] = ()
    ecc: bool | None = None
    power_limit_w: float | None = None
    drives_display: bool = False

    @property
    def capability(self) -> tuple[int, int]:
        """The compute capability as numbers that compare: (9, 0)."""
        return capability_of(self.compute_capability)


class EmbeddedRuntime(Value):
    """What the embedded engine needs from the machine.

    `version` is None when xllamacpp is not installed; `libgomp` tells whether the OpenMP runtime,
    which its wheel does not carry, can be loaded.
    """

    version: str | None = None
    libgomp: bool = False


class ContainerEngine(Value):
    """A container engine that answers.

    `endpoint` is its URL, such as `unix:///var/run/docker.sock`; `architecture` is as image
    platforms have it (`amd64`). `cdi_gpus` are CDI device names, such as `nvidia.com/gpu=0`.
    `disk_free_bytes` is the room where its images are, None where that is not known.
    """

    kind: Literal["docker", "podman"]
    version: str
    endpoint: str
    architecture: str
    rootless: bool = False
    nvidia_runtime: bool = False
    cdi_gpus: tuple[str, ...] = ()
    disk_free_bytes: int | None = None

    @property
    def offers_gpus(self) -> bool:
        """Whether containers can be given GPUs."""
        return self.nvidia_runtime or bool(self.cdi_gpus)


class Trouble(Value):
    """Something that was found broken; `message` says it in words.

    `gpu` is the index of the GPU that has to be set up otherwise, where one has.
    """

    kind: Literal[
        "container-without-gpus",
        "driver-failed",
        "driver-mismatch",
        "driver-not-loaded",
        "driver-silent",
        "gpu-lost",
        "library-missing",
        "mig-without-slices",
        "no-container-engine",
        "no-driver",
        "no-permission",
        "unknown-gpu",
    ]
    message: str
    gpu: int | None = None


class Host(Value):
    """A machine. Memory and disk in bytes.

    `gpus` are those that can be used: a GPU in MIG mode is replaced by its slices. `troubles` are
    what was found broken, such as a driver that does not answer; `container_engine` is
    None when there is none, or none was looked for. A machine that is `planned` was never seen:
    all but its GPUs is taken to suffice.
    """

    schema_version: int = 1
    system: str
    cpu: Cpu
    memory_total_bytes: int
    memory_available_bytes: int
    disk_free_bytes: int
    gpus: tuple[Gpu, ...] = ()
    driver_version: str | None = None
    cuda_version: str | None = None
    wsl: bool = False
    embedded: EmbeddedRuntime = EmbeddedRuntime()
    container_engine: ContainerEngine | None = None
    troubles: tuple[Trouble, ...] = ()
    planned: bool = False
