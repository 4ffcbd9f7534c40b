"""`trtllm-serve` on an engine (until 1.3.0rc20) or on a checkpoint (PyTorch backend).

Only flags that every release from 1.1 to 1.4 has are given; the rest belongs into the YAML of
`--extra_llm_api_options`, which wins over the command line. Source: NVIDIA/TensorRT-LLM,
tests/unittest/api_stability/references/trtllm_serve_cli.yaml.
"""

from collections.abc import Iterator

from nimctl.core.containers import Mount
from nimctl.core.serving.backends import BACKENDS
from nimctl.core.serving.part import GPU_ULIMITS, QUIET, USER, Part
from nimctl.core.serving.serving import ENGINES, MODELS, OPTIONS_FILE, Serving

# TensorRT-LLM's default leaves 10 % of the free memory.
_KV_FRACTION = "0.9"


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
        mounts=tuple(
            Mount(source=source, target=target)
            for source, target in (
                (serving.checkpoint, checkpoint),
                (serving.engine, engine),
                (serving.options_file, OPTIONS_FILE),
            )
            if source
        ),
        ipc="host",
        ulimits=GPU_ULIMITS,
    )


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
