"""Machines that are only planned for: `--gpu h100_sxm:8`, and documents that `doctor` printed.

A GPU is written `PART[,NAME=VALUE…][:COUNT]`. PART is a key of the table, NVML's name or a PCI
device; the attributes say what differs from the table: `memory`, `used` (sizes such as 24GiB),
`mig` (a profile such as 3g.40gb), `capability` (of parts that the table lacks) and `nvlink`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from nimctl.core.backends import X86_FEATURES
from nimctl.core.errors import UsageError
from nimctl.core.gpus import VENDOR, GpuPart, find
from nimctl.core.machine import ContainerEngine, Cpu, EmbeddedRuntime, Gpu, Host
from nimctl.core.value import Value

# In the UUIDs of GPUs that are not here.
PLANNED = "-planned-"
_VERSION = 1  # of Host
_MIB = 2**20
_GIB = 2**30
_COUNT = re.compile(r"(?s)(.*):(\d{1,9})")
_DEVICE = re.compile(r"(?i)[0-9a-f]{4}:[0-9a-f]{4}")
_SIZE = re.compile(r"(?i)(\d{1,7}(?:\.\d{1,3})?)\s*(gib|gb|g|mib|mb|m)")
_SCALES = {"g": _GIB, "m": _MIB}
_MIG = re.compile(r"(?:\d+c\.)?(\d+)g\.(\d+)gb(?:\+\S+)?")
_ATTRIBUTES = ("memory", "used", "mig", "capability", "nvlink")
_MOST = 1024
# A GPU has seven compute slices (https://docs.nvidia.com/datacenter/tesla/mig-user-guide).
_COMPUTE_SLICES = 7
_YES = {"yes": True, "true": True, "no": False, "false": False}
# Chips that hold an ARM processor too.
_ARM_KEYS = ("gh200", "gb200", "gb300", "gb10", "jetson")


class GpuSpec(Value):
    """What one `--gpu` says; sizes in bytes, None where the table has the say."""

    part: str
    count: int = 1
    memory: int | None = None
    used: int = 0
    mig: str | None = None
    capability: str | None = None
    nvlink: bool | None = None


def parse_gpu(text: str) -> GpuSpec:
    """Read one `--gpu`.

    Raises:
        UsageError: It is not written so.
    """
    counted = _COUNT.fullmatch(text.strip())
    body, count = (counted[1], int(counted[2])) if counted else (text.strip(), 1)
    part, *pairs = [word.strip() for word in body.split(",")]
    uncounted = ":" in part and not _DEVICE.fullmatch(part)
    if not part or uncounted or not 0 < count <= _MOST:
        raise _wrong(text, f"a GPU is named, and a count, which is last, is 1 to {_MOST}")
    values: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = (word.strip() for word in pair.partition("="))
        if not equals or name not in _ATTRIBUTES:
            raise _wrong(text, f"`{pair}` is none of " + ", ".join(f"{n}=" for n in _ATTRIBUTES))
        if name in values:
            raise _wrong(text, f"`{name}=` stands here twice")
        values[name] = _attribute(text, name, value)
    return msgspec.convert({"part": part, "count": count, **values}, GpuSpec)


def planned_host(texts: Iterable[str]) -> Host:
    """A machine with these GPUs; whatever else it needs is taken to be there.

    It has a container engine that hands GPUs over, twice the GPUs' memory and a large disk.

    Raises:
        UsageError: A GPU is not written as above, or is not known and not told enough of.
    """
    gpus: list[Gpu] = []
    index = 0
    for spec in map(parse_gpu, texts):
        added = list(_gpus(spec, first=index))
        gpus += added
        index = added[-1].index + 1
    linked = _with_links(gpus)
    architecture = "aarch64" if any(_is_arm(gpu) for gpu in gpus) else "x86_64"
    memory = _host_memory(linked)
    return Host(
        system="linux",
        cpu=Cpu(
            model="planned",
            architecture=architecture,
            cores=64,
            threads=128,
            features=X86_FEATURES if architecture == "x86_64" else (),
        ),
        memory_total_bytes=memory,
        memory_available_bytes=memory,
        disk_free_bytes=4096 * _GIB,
        gpus=linked,
        embedded=EmbeddedRuntime(version="planned", libgomp=True),
        container_engine=ContainerEngine(
            kind="docker",
            version="planned",
            endpoint="unix:///var/run/docker.sock",
            architecture="arm64" if architecture == "aarch64" else "amd64",
            nvidia_runtime=True,
        ),
        planned=True,
    )


class _Report(msgspec.Struct):
    # What `doctor --json` prints, as far as a plan needs it.
    host: Host


def read_host(document: bytes) -> Host:
    """The machine in what `doctor --json` or `list-profiles --json` printed, or a bare one.

    Raises:
        UsageError: It is no such document; says which field is wrong.
    """
    host = _decode(document)
    if host.schema_version != _VERSION:
        raise UsageError(
            f"the description of this host is of version {host.schema_version}",
            cause="this nimctl reads version 1",
            hint="nimctl doctor --json, of this version, on that machine",
        )
    return host


def _decode(document: bytes) -> Host:
    try:
        return msgspec.json.decode(document, type=_Report).host
    except msgspec.DecodeError as error:
        if "missing required field `host`" not in str(error):
            raise _no_host(error) from error
    try:
        return msgspec.json.decode(document, type=Host)
    except msgspec.DecodeError as error:
        raise _no_host(error) from error


def _gpus(spec: GpuSpec, *, first: int) -> Iterator[Gpu]:
    part = _part(spec)
    total = spec.memory or part.memory_bytes
    if total is None:
        raise UsageError(
            f"{part.key} is sold with memory of several sizes",
            hint=f"--gpu {part.key},memory=64GiB",
        )
    profile, per_gpu = None, 1
    if spec.mig:
        total, per_gpu = _slice(spec.mig, part, total)
        profile = spec.mig
    if spec.used > total:
        raise UsageError(
            f"{part.key}: used={_gib(spec.used)} is more than its memory, {_gib(total)}",
            hint=f"--gpu {part.key},used=1GiB",
        )
    for number in range(spec.count):
        index = first + number // per_gpu
        device = f"{part.pci_devices[0]}:{VENDOR}" if part.pci_devices else ""
        yield Gpu(
            index=index,
            name=part.names[0] + (f" MIG {profile}" if profile else ""),
            uuid=f"MIG{PLANNED}{first + number}" if profile else f"GPU{PLANNED}{index}",
            pci_device=device,
            compute_capability=spec.capability or part.compute_capability,
            key=part.key or None,
            memory_total_bytes=total,
            memory_used_bytes=spec.used,
            memory_free_bytes=total - spec.used,
            unified_memory=part.unified_memory,
            mig_profile=profile,
            # Filled with the peers once all GPUs are known; itself stands for "on such a board".
            nvlink_peers=(index,) if not profile and _is_linked(spec, part) else (),
        )


def _part(spec: GpuSpec) -> GpuPart:
    try:
        return find(spec.part)
    except UsageError as error:
        if spec.capability is None or spec.memory is None:
            raise _untold(spec, error) from error
    # A part that the table lacks, given by its attributes.
    return GpuPart(
        key="",
        names=(spec.part,),
        pci_devices=(),
        compute_capability=spec.capability,
        memory_mib=spec.memory // _MIB,
    )


def _untold(spec: GpuSpec, error: UsageError) -> UsageError:
    return UsageError(
        error.message,
        cause=error.cause or "a part that the table lacks is given by memory= and capability=",
        hint=error.hint or f"--gpu '{spec.part},memory=24GiB,capability=8.9'",
    )


def _slice(profile: str, part: GpuPart, memory: int) -> tuple[int, int]:
    """Bytes of a slice, and how many of them one GPU is cut into."""
    match = _MIG.fullmatch(profile)
    if match is None:
        raise UsageError(
            f"`{profile}` is no MIG profile",
            cause="a profile is written as nvidia-smi does, compute slices first",
            hint=f"--gpu {part.key},mig=3g.40gb",
        )
    compute, size = int(match[1]), int(match[2]) * _GIB
    # A profile's name rounds up: 7g.141gb is the whole of 140.4 GiB.
    if not 0 < compute <= _COMPUTE_SLICES or not 0 < size < memory + 2 * _GIB:
        raise UsageError(
            f"a {part.key} has no slice {profile}",
            cause=f"it has {_COMPUTE_SLICES} compute slices and {_gib(memory)}",
            hint="nvidia-smi mig -lgip lists the profiles, on such a machine",
        )
    return min(size, memory), max(1, min(_COMPUTE_SLICES // compute, round(memory / size)))


def _with_links(gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    def peers(gpu: Gpu) -> tuple[int, ...]:
        if not gpu.nvlink_peers:
            return ()
        return tuple(
            one.index
            for one in gpus
            if one.nvlink_peers and one.key == gpu.key and one.index != gpu.index
        )

    return tuple(msgspec.structs.replace(gpu, nvlink_peers=peers(gpu)) for gpu in gpus)


def _is_linked(spec: GpuSpec, part: GpuPart) -> bool:
    return part.nvlink if spec.nvlink is None else spec.nvlink


def _host_memory(gpus: Sequence[Gpu]) -> int:
    sizes = [gpu.memory_total_bytes or 0 for gpu in gpus]
    if any(gpu.unified_memory for gpu in gpus):
        return max(sizes)
    return max(64 * _GIB, 2 * sum(sizes))


def _is_arm(gpu: Gpu) -> bool:
    return (gpu.key or "").startswith(_ARM_KEYS)


def _attribute(text: str, name: str, value: str) -> object:
    if name in ("memory", "used"):
        match = _SIZE.fullmatch(value)
        if match is None:
            raise _wrong(text, f"`{name}={value}` is no size such as 24GiB")
        return round(float(match[1]) * _SCALES[match[2][0].lower()])
    if name == "capability" and re.fullmatch(r"\d+\.\d", value) is None:
        raise _wrong(text, f"`capability={value}` is no compute capability such as 8.9")
    if name == "nvlink":
        if value not in _YES:
            raise _wrong(text, f"`nvlink={value}` is neither yes nor no")
        return _YES[value]
    return value


def _gib(count: int) -> str:
    return f"{count / _GIB:.1f} GiB"


def _wrong(text: str, cause: str) -> UsageError:
    return UsageError(
        f"`--gpu {text}` cannot be read",
        cause=cause,
        hint="for example --gpu h100_sxm:8, or --gpu rtx_4090,memory=24GiB,used=3GiB:2",
    )


def _no_host(error: msgspec.DecodeError) -> UsageError:
    return UsageError(
        "this is no description of a host",
        cause=str(error),
        hint="nimctl doctor --json > host.json",
    )
