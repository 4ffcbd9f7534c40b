"""Known failures of builds and of engines that do not load: log lines to cause and remedy."""

from collections.abc import Iterable, Sequence

from nimctl.core.diagnosis import Diagnosis, Known, decisive_lines, search
from nimctl.core.trtllm.releases import BUILDER_IMAGE

_KILLED = 137
_MISUSED = 2


# Engines that TensorRT refuses. Sources: NVIDIA/TensorRT-LLM#3031, #660,
# triton-inference-server/tensorrtllm_backend#531, #190, #235, #375.
REFUSED_ENGINES = (
    Known(
        pattern=r"expecting compute (?P<built>[\d.]+) got compute (?P<here>[\d.]+)",
        cause="the engine was built for compute capability {built}, this GPU has {here}",
        hint="nimctl build-engine {model}",
    ),
    Known(
        pattern=r"Current Version: (?P<here>\d+), Serialized Engine Version: (?P<built>\d+)",
        cause="the engine was built by another TensorRT (serialisation {built}, this has {here})",
        hint="nimctl build-engine {model}, or serve it with the image that built it",
    ),
    Known(
        pattern=r"Version tag does not match|stdVersionRead == kSERIALIZATION_VERSION",
        cause="the engine was built by another version of TensorRT",
        hint="nimctl build-engine {model}, or serve it with the image that built it",
    ),
    Known(
        pattern=r"Expected length != real length",
        cause="the engine was built by another version of TensorRT-LLM",
        hint="nimctl build-engine {model}, or serve it with the image that built it",
    ),
    Known(
        pattern=r"No GPU devices found on the node",
        cause="the server saw no GPU",
        hint="nimctl doctor",
    ),
    Known(
        pattern=r"TensorRT (engine )?backend (is|was|has been) removed|ValueError.*tensorrt",
        cause="this TensorRT-LLM has no engines any more: they were removed in 1.3.0rc21",
        hint=f"--image {BUILDER_IMAGE}",
    ),
)
_BUILD = (
    Known(
        pattern=r"CUDA out of memory|OutOfMemoryError|out of memory \(.*cuda|"
        r"amount of GPU memory \(\d+ bytes\) could not be allocated|cudaErrorMemoryAllocation",
        cause="the GPU's memory ran out",
        hint="free it (nvidia-smi shows who uses it), or use --tp 2, or a smaller --max-batch-size "
        "and --max-num-tokens",
    ),
    Known(
        pattern=r"No space left on device",
        cause="the disk is full",
        hint="free some space, or set NIMCTL_HOME to a larger disk",
    ),
    Known(
        pattern=r"Unsupported model architecture: (?P<name>\w+)",
        cause="this TensorRT-LLM builds no engine of {name}",
        hint="nimctl build-engine {model} --strategy pytorch",
    ),
    Known(
        pattern=r"does not recognize this architecture|KeyError: '(qwen3_5|glm4_moe|gpt_oss)'",
        cause="the transformers in the image is older than the model",
        hint="nimctl build-engine {model} --strategy pytorch --image IMAGE of a newer release",
    ),
    Known(
        pattern=r"unrecognized arguments: (?P<flags>.+)",
        cause="the builder does not know {flags}",
        hint=f"take it out of --set, or use the release that knows it: {BUILDER_IMAGE}",
    ),
    Known(
        pattern=r"driver version is insufficient|UNSUPPORTED_DRIVER|requires? (a )?newer driver",
        cause="the NVIDIA driver is too old for the CUDA in the image",
        hint="update the driver; nimctl doctor shows both versions",
    ),
    Known(
        pattern=r"FP8 FMHA cannot be enabled|NotImplementedError(?!: Unsupported dataset)",
        cause="this TensorRT-LLM has no such kernel for this GPU",
        hint="nimctl build-engine {model} --precision bf16",
    ),
    Known(
        pattern=r"KeyError: 'text'|Column text not in the dataset|Column .?text.? doesn't exist",
        cause="the calibration data have no field `text`",
        hint='--calib FILE with one JSON object a line: {{"text": "..."}}',
    ),
    Known(
        pattern=r"Unsupported dataset name|ConnectionError.*(huggingface|datasets)|"
        r"Offline mode is enabled|LocalEntryNotFoundError",
        cause="the builder wanted to download something, and builds have no network",
        hint="give calibration data with --calib FILE, and check that the model was pulled whole",
    ),
    Known(
        pattern=r"No module named '?modelopt|Failed to import modelopt",
        cause="the builder has no ModelOpt, which quantises",
        hint=f"--image {BUILDER_IMAGE}",
    ),
    Known(
        pattern=r"GPU is required for inference|No CUDA GPUs are available|found no NVIDIA driver",
        cause="the builder saw no GPU",
        hint="nimctl doctor",
    ),
    Known(
        pattern=r"Bus error",
        cause="shared memory ran out; TensorRT-LLM needs the host's (--ipc host)",
        hint="nimctl doctor",
    ),
    Known(
        pattern=r"(^|\s)Killed$",
        cause="the host's memory ran out: a build takes several times the weights",
        hint="close what uses memory, or build on a larger machine and move the engine with "
        "nimctl engines export",
    ),
    Known(
        pattern=r"Permission denied: '(?P<path>[^']+)'",
        cause="the builder may not write {path}: the image does not allow this user",
        hint="nimctl doctor",
    ),
)
_HOST_MEMORY = next(one for one in _BUILD if "Killed" in one.pattern)


def explain_build(
    lines: Sequence[str], model: str, *, exit_code: int, oom_killed: bool = False
) -> Diagnosis:
    """Why a build failed, from its log (oldest line first) and how its process ended."""
    found = search(_BUILD, lines, model) or search(REFUSED_ENGINES, lines, model)
    if found is not None:
        return found
    if oom_killed or exit_code == _KILLED:
        return Diagnosis(
            cause=_HOST_MEMORY.cause, hint=_HOST_MEMORY.hint, lines=decisive_lines(lines)
        )
    return Diagnosis(cause=None, hint=None, lines=decisive_lines(lines))


def explain_load(lines: Iterable[str], model: str) -> Diagnosis | None:
    """Why a server does not load an engine; None when its log says nothing that is known."""
    return search(REFUSED_ENGINES, list(lines), model)
