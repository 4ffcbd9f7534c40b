"""What is checked before a build: refusals with their remedy, and notes on what was found.

What quantising and building take of a GPU is inferred from how they work; host memory is
documented: 48 GB for a model of 7 to 8 billion parameters
(https://github.com/triton-inference-server/triton_cli), which is three times its weights.
"""

from collections.abc import Iterator

from nimctl.core.containers import Image, ImageOffer
from nimctl.core.errors import DiskFullError, HardwareError, UsageError
from nimctl.core.fit.precision import preferences
from nimctl.core.machine import Gpu, Host
from nimctl.core.memory import GpuShare
from nimctl.core.memory.gpu import GIB, weights_bytes
from nimctl.core.trtllm.families import UNQUANTISED
from nimctl.core.trtllm.machine import check_container_engine
from nimctl.core.trtllm.pipeline import Command
from nimctl.core.trtllm.releases import Release
from nimctl.core.trtllm.subject import SAMPLES, BuildOptions, Subject
from nimctl.core.value import Value

_ENGINE_GROWTH = 1.15
_QUANTISING_GROWTH = 1.1
_RUNTIME_BYTES = 2 * GIB
_DISK_RESERVE_BYTES = GIB
_COMFORTABLE = 3
_CALIBRATION_KINDS = (".json", ".jsonl", ".txt", ".csv", ".parquet")


class Surveyed(Value):
    """What a build is checked against.

    `builder` is the image that it runs in, None on the machine itself; `image` and `offer` are what
    the container engine and its registry have of it. The build writes under `home`, to a disk that
    has to take `pending_bytes` of downloads too.
    """

    host: Host
    release: Release
    home: str
    pending_bytes: int = 0
    builder: str | None = None
    image: Image | None = None
    offer: ImageOffer | None = None


def preflight(
    subject: Subject, options: BuildOptions, steps: tuple[Command, ...], around: Surveyed
) -> tuple[str, ...]:
    """Refuse a build that cannot succeed; otherwise say what is worth knowing before it.

    Raises:
        UsageError: Calibration data are missing or of an unknown kind.
        HardwareError: GPU, driver or memory do not suffice.
        DiskFullError: The disk does not.
        ContainerEngineError: There is no container engine, or it cannot hand over GPUs.
    """
    check_calibration(subject, options, steps)
    return (
        *_text_notes(subject, options, steps),
        *_image_notes(around),
        *_driver_notes(subject.gpus[0], around),
        *_gpu_notes(subject, steps),
        *_memory_notes(subject, around.host),
        *_disk_notes(subject, around),
    )


def check_calibration(subject: Subject, options: BuildOptions, steps: tuple[Command, ...]) -> None:
    """Refuse a quantisation without texts: nothing is downloaded for it behind one's back.

    Raises:
        UsageError: They are missing, of an unknown kind, or cannot be read.
    """
    if not any(step.phase == "quantise" for step in steps):
        return
    if options.calibration is None:
        # 16 bits are measured for the sake of the KV cache alone.
        of_cache = subject.profile.precision in UNQUANTISED
        what = (
            f"an {options.kv_cache} KV cache of {subject.model}"
            if of_cache
            else (f"quantising {subject.model} to {subject.profile.precision}")
        )
        other = "--precision bf16, or --backend llama_cpp"
        instead = "--kv-cache-dtype auto" if of_cache else other
        raise UsageError(
            f"{what} needs calibration data",
            cause="activations are measured with texts, and builds have no network to fetch some",
            hint='nimctl build-engine --calib FILE, of one JSON object a line, {"text": "…"}; '
            f"or {instead}",
        )
    if not options.calibration.path.endswith(_CALIBRATION_KINDS):
        raise UsageError(
            f"{options.calibration.path} is no calibration file",
            cause="the builder reads " + ", ".join(_CALIBRATION_KINDS),
        )
    if options.calibration.size == 0:
        raise UsageError(f"the calibration file {options.calibration.path} is empty")
    if options.calibration.flaw is not None:
        raise UsageError(
            f"{options.calibration.path} is no calibration file",
            cause=options.calibration.flaw,
            hint='one JSON object a line: {"text": "…"}',
        )


def _text_notes(
    subject: Subject, options: BuildOptions, steps: tuple[Command, ...]
) -> Iterator[str]:
    texts = options.calibration.texts if options.calibration else None
    if not any(step.phase == "quantise" for step in steps) or options.calibration is None:
        return
    precision, gpu = subject.profile.precision, subject.gpus[0]
    if precision not in UNQUANTISED:
        order = ", ".join(preferences(gpu.capability))
        yield (
            f"precision {precision}: it is measured with the texts that are given; on compute"
            f" capability {gpu.compute_capability} the order is {order}"
        )
    if texts is not None and texts < SAMPLES:
        yield (
            f"WARNING: {options.calibration.path} has {texts} texts; {SAMPLES} are what"
            " quantisation measures with, and fewer may cost quality"
        )


def _image_notes(around: Surveyed) -> Iterator[str]:
    if around.builder is None:
        return
    check_container_engine(around.host)
    if around.image is not None:
        yield f"image {around.builder} is here, {around.image.size / GIB:.1f} GiB"
        return
    if around.offer is not None and around.offer.size is not None:
        yield f"image {around.builder} is pulled: {around.offer.size / GIB:.1f} GiB"
        return
    size = around.release.image_bytes
    inferred = " (inferred)" if "image_bytes" in around.release.inferred else ""
    about = f", about {size / 1e9:.0f} GB to pull{inferred}" if size else ""
    yield f"image {around.builder} is not here{about}"


def _driver_notes(gpu: Gpu, around: Surveyed) -> Iterator[str]:
    needed, driver = around.release.driver, around.host.driver_version
    if needed is None or driver is None or int(driver.partition(".")[0]) >= needed:
        return
    inferred = ", which is inferred" if "driver" in around.release.inferred else ""
    what = (
        f"TensorRT-LLM {around.release.version} has CUDA {around.release.cuda or 13} and needs "
        f"driver {needed} or later{inferred}"
    )
    # Data-centre GPUs can run a newer CUDA on an older driver, others cannot:
    # https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html
    if (gpu.key or "").startswith(("rtx", "gtx", "titan")):
        raise HardwareError(
            f"the driver {driver} is too old to build here", cause=what, hint="update the driver"
        )
    yield f"WARNING: driver {driver}: {what}; on this GPU the image may bring its own"


def _gpu_notes(subject: Subject, steps: tuple[Command, ...]) -> Iterator[str]:
    free = min((gpu.memory_free_bytes or 0 for gpu in subject.gpus), default=0)
    if not free or any(gpu.unified_memory for gpu in subject.gpus):
        return
    need = gpu_bytes_needed(subject, steps)
    if need > free:
        names = ", ".join(str(gpu.index) for gpu in subject.gpus)
        raise HardwareError(
            f"building needs about {need / GIB:.1f} GiB of each GPU, {free / GIB:.1f} GiB are free",
            cause=f"of GPU {names}; what others use is counted",
            hint="stop what uses them (nvidia-smi), or divide the model with --tp",
        )
    yield f"about {need / GIB:.1f} GiB of {free / GIB:.1f} GiB free on each GPU are needed to build"


def gpu_bytes_needed(subject: Subject, steps: tuple[Command, ...]) -> int:
    """What the most demanding command takes of each GPU, in bytes.

    Quantising holds the model in 16 bits, divided over all; building holds one rank's weights and
    tries kernels beside them.
    """
    architecture, profile = subject.architecture, subject.profile
    share = GpuShare(
        backend=profile.backend, precision=profile.precision, tp=profile.tp, pp=profile.pp
    )
    building = (weights_bytes(architecture, share) or 0) * _ENGINE_GROWTH
    if any(step.phase == "quantise" for step in steps):
        whole = _unquantised(subject) / subject.world_size
        return round(max(building, whole * _QUANTISING_GROWTH)) + _RUNTIME_BYTES
    return round(building) + _RUNTIME_BYTES


def _unquantised(subject: Subject) -> int:
    share = GpuShare(backend="tensorrt_llm", precision="bf16")
    return weights_bytes(subject.architecture, share) or 0


def _memory_notes(subject: Subject, host: Host) -> Iterator[str]:
    weights, available = _unquantised(subject), host.memory_available_bytes
    if weights > available:
        raise HardwareError(
            f"building {subject.model} needs more memory than this machine has free",
            cause=f"the weights alone take {weights / GIB:.0f} GiB of host memory, "
            f"{available / GIB:.0f} GiB are free",
            hint="build on a larger machine, and move it: nimctl engines export",
        )
    if weights * _COMFORTABLE > available:
        yield (
            f"WARNING: {available / GIB:.0f} GiB of host memory are free; "
            f"{weights * _COMFORTABLE / GIB:.0f} GiB are what such builds are documented with"
        )


def _disk_notes(subject: Subject, around: Surveyed) -> Iterator[str]:
    need = disk_bytes_needed(subject) + around.pending_bytes
    free = around.host.disk_free_bytes
    if need + _DISK_RESERVE_BYTES > free:
        raise DiskFullError(
            f"the build needs {need / GIB:.1f} GiB, {free / GIB:.1f} GiB are free "
            f"under {around.home}",
            cause="the converted checkpoint and the engine lie beside each other while it runs",
            hint="free some space, or set NIMCTL_HOME to a larger disk",
        )
    yield f"about {need / GIB:.1f} GiB of disk are needed while it runs, {free / GIB:.1f} are free"


def disk_bytes_needed(subject: Subject) -> int:
    """The converted checkpoint and the engine, in bytes."""
    profile = subject.profile
    share = GpuShare(backend=profile.backend, precision=profile.precision)
    weights = weights_bytes(subject.architecture, share) or _unquantised(subject)
    converted = 0 if subject.form == "trtllm_checkpoint" else weights
    return round(converted + weights * _ENGINE_GROWTH)
