"""The options file that the PyTorch backend is served with on one kind of GPU.

The keys are those of NVIDIA/TensorRT-LLM, examples/configs/curated/llama-3.3-70b.yaml at 25a0210a;
the file is for `trtllm-serve --extra_llm_api_options`, and wins over the command line.
"""

import json
from collections.abc import Mapping
from typing import TypeAlias

from nimctl.core.memory.gpu import KV_PERCENT, KV_PERCENT_WITH_DISPLAY
from nimctl.core.trtllm.limits import EngineLimits
from nimctl.core.trtllm.subject import KvCache, Subject

OPTIONS_FILE = "llm-options.yaml"

Options: TypeAlias = Mapping[str, "int | float | str | bool | Options"]


def options_for(subject: Subject, limits: EngineLimits, kv_cache: KvCache) -> Options:
    """The options for a subject's GPUs."""
    shows = any(gpu.drives_display for gpu in subject.gpus)
    return {
        "max_batch_size": limits.max_batch_size,
        "max_num_tokens": limits.max_num_tokens,
        "max_seq_len": limits.max_seq_len,
        "tensor_parallel_size": subject.profile.tp,
        "pipeline_parallel_size": subject.profile.pp,
        "cuda_graph_config": {"enable_padding": True, "max_batch_size": limits.max_batch_size},
        "kv_cache_config": {
            "dtype": kv_cache,
            "free_gpu_memory_fraction": (KV_PERCENT_WITH_DISPLAY if shows else KV_PERCENT) / 100,
        },
    }


def as_text(options: Options) -> str:
    """The options file; JSON is YAML too."""
    return json.dumps(options, indent=2) + "\n"


def merged(*texts: str | None) -> str:
    """Several options files as one, a later one before an earlier; empty when there is none."""
    options: dict[str, object] = {}
    for text in texts:
        options.update(json.loads(text) if text else {})
    return json.dumps(options, indent=2) + "\n" if options else ""
