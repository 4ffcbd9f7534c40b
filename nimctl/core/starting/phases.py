"""How far a server is, from the lines that it logs.

One table a backend: a regular expression and the phase that begins with such a line. A server
whose lines are unknown has one phase, which is to start.
"""

import re
from typing import Literal, TypeAlias

Phase: TypeAlias = Literal["download", "weights", "engine", "warm-up"]

_TITLES: dict[Phase, str] = {
    "download": "downloading what the image lacks",
    "weights": "loading weights",
    "engine": "preparing the engine",
    "warm-up": "warming up",
}

# vllm-project/vllm: vllm/model_executor/model_loader/default_loader.py, weight_utils.py,
# vllm/v1/worker/gpu_model_runner.py, vllm/v1/core/kv_cache_utils.py; and logs of 0.6 to 0.11.
_VLLM: tuple[tuple[str, Phase], ...] = (
    (r"Starting to load model|Loading (safetensors|pt) checkpoint shards", "weights"),
    (r"Loading weights took|Model loading took|torch\.compile|Dynamo bytecode", "engine"),
    (r"Available KV cache memory|GPU KV cache size", "engine"),
    (r"Capturing CUDA graph|Graph capturing finished|Application startup complete", "warm-up"),
)
# sgl-project/sglang: python/sglang/srt/model_executor/model_runner.py, srt/entrypoints; and logs.
_SGLANG: tuple[tuple[str, Phase], ...] = (
    (r"Load weight begin|Loading (safetensors|pt) checkpoint shards", "weights"),
    (r"Load weight end|KV Cache is allocated|Memory pool end", "engine"),
    (r"Capture cuda graph begin|Capturing batches|Application startup complete", "warm-up"),
)
# NVIDIA/TensorRT-LLM: tensorrt_llm/_torch/autotuner.py and logs of 0.9 to 1.2 (the lines about
# weights are unverified for the PyTorch backend); TensorRT itself says how large an engine is.
_TENSORRT_LLM: tuple[tuple[str, Phase], ...] = (
    (r"Prefetching .* checkpoint files|Loading weights", "weights"),
    (r"Loaded engine size|Engine version .* found in the config file|paged KV cache", "engine"),
    (r"Autotuning process starts|[Rr]un(ning)? (autotuner )?warmup|CUDA [Gg]raph", "warm-up"),
)
# Logs of 1.0 to 1.3 in the field; the engine inside says the rest in its own words.
_NIM: tuple[tuple[str, Phase], ...] = (
    (r"Preparing model workspace", "download"),
    (r"Model workspace is now ready|Initializing an LLM engine", "weights"),
    *_TENSORRT_LLM,
    *_VLLM,
)
# Triton of 2024; unverified for this container.
_NEMOLLM: tuple[tuple[str, Phase], ...] = (
    (r"loading: (ensemble|trt_llm)", "weights"),
    (r"Loaded engine size|successfully loaded", "engine"),
)
# ggml-org/llama.cpp: src/llama-model-loader.cpp, src/llama-context.cpp, tools/server/server.cpp.
_LLAMA_CPP: tuple[tuple[str, Phase], ...] = (
    (r"llama_model_loader: loaded meta data|load_tensors:", "weights"),
    (r"llama_context: constructing|llama_kv_cache", "engine"),
    (r"warming up the model", "warm-up"),
)
_PHASES: dict[str, tuple[tuple[re.Pattern[str], Phase], ...]] = {
    backend: tuple((re.compile(pattern), phase) for pattern, phase in table)
    for backend, table in {
        "vllm": _VLLM,
        "sglang": _SGLANG,
        "tensorrt_llm": _TENSORRT_LLM,
        "nim": _NIM,
        "nemollm": _NEMOLLM,
        "llama_cpp": _LLAMA_CPP,
    }.items()
}


def phase_of(backend: str, line: str) -> Phase | None:
    """The phase that a line belongs to; None for a line that says nothing of it."""
    for pattern, phase in _PHASES.get(backend, ()):
        if pattern.search(line):
            return phase
    return None


def phase_title(phase: Phase) -> str:
    """What a person reads while it lasts."""
    return _TITLES[phase]
