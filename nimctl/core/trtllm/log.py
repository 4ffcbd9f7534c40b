"""What the log of a build says about how far it is.

The lines are those of TensorRT-LLM 1.x: tensorrt_llm/{builder,commands/build}.py,
tensorrt_llm/quantization/quantize_by_modelopt.py and the conversion scripts.
"""

import re

_STAGES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"Initializing model from"), "loading the checkpoint"),
    (re.compile(r"Loading checkpoint shards:\s+(\d+)%"), "loading the checkpoint: {0} %"),
    (re.compile(r"Loading calibration dataset"), "reading the calibration data"),
    (re.compile(r"Starting quantization"), "measuring activations"),
    (re.compile(r"Calibrating batch (\d+)"), "measuring activations: batch {0}"),
    (re.compile(r"Quantization done\. Total time used: ([\d.]+) s"), "quantised in {0} s"),
    (re.compile(r"Quantized model exported"), "quantised checkpoint written"),
    (re.compile(r"Total time of converting checkpoints: ([\d:]+)"), "converted in {0}"),
    (re.compile(r"Build TensorRT engine Unnamed Network"), "compiling kernels"),
    (re.compile(r"Serializing engine to \S*?(rank\d+)\.engine"), "writing {0}"),
    (re.compile(r"Total time of building all engines: ([\d:]+)"), "built in {0}"),
)


def stage_of(line: str) -> str | None:
    """In few words what a line says has been reached; None for most lines."""
    for pattern, words in _STAGES:
        if found := pattern.search(line):
            return words.format(*found.groups())
    return None
