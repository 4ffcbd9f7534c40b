"""Quantising a Hugging Face checkpoint for the PyTorch backend, with nimctl's own small program.

ModelOpt's example `hf_ptq.py` is not in TensorRT-LLM's image and calibrates with data sets that it
downloads; ModelOpt itself is in the image (the package `tensorrt-llm` depends on it), so
`quantise_checkpoint.py` calls it with local texts.
"""

from nimctl.core.trtllm.job import calibration_name
from nimctl.core.trtllm.pipeline import Command, Places
from nimctl.core.trtllm.subject import SAMPLES, BuildOptions, KvCache, Subject

PROGRAM = "quantise_checkpoint.py"
CHECKPOINT = "checkpoint"
# Served as they come: 16 bits, and what models are trained in.
AS_THEY_COME = ("bf16", "fp16", "mxfp4")


def is_needed(subject: Subject) -> bool:
    """Whether the checkpoint has to be quantised before it is served."""
    return subject.form == "checkpoint" and subject.profile.precision not in AS_THEY_COME


def command(subject: Subject, options: BuildOptions, kv_cache: KvCache, places: Places) -> Command:
    """The program's command line; it writes a checkpoint into the engine's directory."""
    calibration = options.calibration.path if options.calibration else ".jsonl"
    argv = (
        *("python3", f"{places.programs}/{PROGRAM}"),
        *("--checkpoint", places.checkpoint),
        *("--calibration", f"{places.calibration}/{calibration_name(calibration)}"),
        *("--format", subject.profile.precision or ""),
        *("--kv-cache", kv_cache),
        *("--samples", str(SAMPLES)),
        *("--output", f"{places.engine}/{CHECKPOINT}"),
    )
    return Command(phase="quantise", argv=argv)
