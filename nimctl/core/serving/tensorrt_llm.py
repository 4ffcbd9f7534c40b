"""`trtllm-serve` on an engine (until 1.3.0rc20) or on a checkpoint (PyTorch backend).

Only flags that every release from 1.1 to 1.4 has are given; the rest belongs into the YAML of
`--extra_llm_api_options`, which wins over the command line. Source: NVIDIA/TensorRT-LLM,
tests/unittest/api_stability/references/trtllm_serve_cli.yaml.
"""

import json
from collections.abc import Iterator, Sequence

from nimctl.core.errors import UsageError
from nimctl.core.serving.backends import BACKENDS
from nimctl.core.serving.part import GPU_ULIMITS, QUIET, USER, Part, mounted
from nimctl.core.serving.serving import ADAPTERS, ENGINES, MODELS, OPTIONS_FILE, Adapter, Serving

# TensorRT-LLM's default leaves 10 % of the free memory.
_KV_FRACTION = "0.9"
# tensorrt_llm/lora_helper.py, get_default_trtllm_modules_to_hf_modules().
_MODULES = {
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_dense",
    "gate_proj": "mlp_h_to_4h",
    "up_proj": "mlp_gate",
    "down_proj": "mlp_4h_to_h",
}


def part(serving: Serving) -> Part:
    """The command line and mounts of TensorRT-LLM."""
    # The server calls the model by the last part of the path that it is given.
    checkpoint = f"{MODELS}/{serving.model}"
    engine = f"{ENGINES}/{serving.model}"
    model = engine if serving.engine else checkpoint
    return Part(
        entrypoint=("trtllm-serve",),
        command=(model, *_flags(serving, checkpoint)),
        environment={**USER, **QUIET, "TRTLLM_NO_USAGE_STATS": "1"},
        mounts=mounted(
            (serving.checkpoint, checkpoint),
            (serving.engine, engine),
            (serving.options_file, OPTIONS_FILE),
        ),
        ipc="host",
        ulimits=GPU_ULIMITS,
    )


def lora_options(adapters: Sequence[Adapter]) -> str:
    """The options file that has the PyTorch backend take these adapters; JSON is YAML too.

    It names layers and the highest rank, and each request names its adapter:
    https://nvidia.github.io/TensorRT-LLM/features/lora.html. `lora_dir` is left out, as more than
    one directory there is refused when it is loaded (tensorrt_llm/lora_manager.py).

    Raises:
        UsageError: Nothing tells which layers an adapter changes, or TensorRT-LLM has none such.
    """
    for one in adapters:
        unknown = sorted(set(one.modules) - set(_MODULES))
        if unknown or not one.modules:
            raise UsageError(
                f"the adapter {one.name} cannot be served by tensorrt_llm",
                cause=f"it changes {', '.join(unknown)}, which tensorrt_llm has no adapters for"
                if unknown
                else "its target_modules are a pattern and its weights a pickle: which layers it"
                " changes is not known",
                hint="--backend vllm",
            )
    modules = {_MODULES[module] for one in adapters for module in one.modules}
    config = {
        "lora_target_modules": sorted(modules),
        "max_lora_rank": max(one.rank for one in adapters),
        "max_loras": len(adapters),
        "max_cpu_loras": len(adapters),
    }
    return json.dumps({"lora_config": config}, indent=2) + "\n"


def lora_request(adapter: Adapter, number: int) -> dict[str, object]:
    """What a client adds to a request that this adapter is to answer."""
    return {
        "lora_name": adapter.name,
        "lora_int_id": number,
        "lora_path": f"{ADAPTERS}/{adapter.name}",
    }


def _flags(serving: Serving, checkpoint: str) -> Iterator[str]:
    profile, capacity = serving.profile, serving.capacity
    yield from ("--backend", "tensorrt" if serving.engine else "pytorch")
    if serving.engine:
        yield from ("--tokenizer", checkpoint)
    # It listens on localhost of the container unless told otherwise.
    yield from ("--host", "0.0.0.0", "--port", str(BACKENDS["tensorrt_llm"].port))  # noqa: S104
    yield from ("--tp_size", str(profile.tp), "--pp_size", str(profile.pp))
    if capacity.max_model_len:
        yield from ("--max_seq_len", str(capacity.max_model_len))
    if capacity.max_num_seqs:
        yield from ("--max_batch_size", str(capacity.max_num_seqs))
    yield from ("--kv_cache_free_gpu_memory_fraction", _KV_FRACTION)
    if serving.options_file:
        yield from ("--extra_llm_api_options", OPTIONS_FILE)
