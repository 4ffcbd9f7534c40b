"""How much of a host's memory llama.cpp takes, from a model's architecture.

Weights and KV cache follow from the tensors' shapes. The compute buffer of llama.cpp is dominated
by the logits and the widest activations of one micro-batch of 512 tokens in f32; the figures of
`capitals-demo` and of random models agree with it, larger models are unverified.
"""

from nimctl.core.architecture import Architecture, expert_parameters
from nimctl.core.memory.need import Capacity, CapacityWish, Grade, MemoryNeed

# Bytes per weight. q8_0 stores 32 int8 weights and one f16 scale in 34 bytes:
# https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-common.h
# q4_k_m mixes types: 4.89 bits on average for Llama-3.1-8B, after
# https://github.com/ggml-org/llama.cpp/blob/master/tools/quantize/README.md
_BYTES_PER_WEIGHT = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q4_k_m": 4.89 / 8}

# llama.cpp's MXFP4_MOE has the experts in mxfp4, 17 bytes for 32 weights, and the rest in q8_0. So
# gpt-oss-20b has 12,070 MB; the file that people have is of 12,109,566,624 bytes.
_MXFP4_BYTES = 17 / 32

_KV_ELEMENT_BYTES = 2
_MICRO_BATCH = 512
_RUNTIME_BYTES = 64 * 2**20
_TINY_WEIGHTS_BYTES = 64 * 2**20
_DEFAULT_CONTEXT = 8192
_SMALLEST_CONTEXT = 512
_KV_SHARE = 0.25
_COMFORT = 0.1


def weights_bytes(architecture: Architecture, precision: str | None) -> int | None:
    """Bytes of a GGUF file's weights; None for a precision whose size is not known."""
    if precision == "mxfp4":
        experts = expert_parameters(architecture)
        rest = architecture.parameters - experts
        return round(experts * _MXFP4_BYTES + rest * _BYTES_PER_WEIGHT["q8_0"])
    per_weight = _BYTES_PER_WEIGHT.get(precision or "")
    return None if per_weight is None else round(architecture.parameters * per_weight)


def kv_bytes_per_token(architecture: Architecture) -> int:
    """Keys and values of one token in all layers that keep them, in f16.

    A sliding window does not count: layers that have one keep less
    (https://github.com/ggml-org/llama.cpp/blob/02c28f533ebba3e4ea944fc4a0719a012b3e7097/src/llama-kv-cache-iswa.cpp),
    and the server keeps up to 32 copies of it for each sequence, at what cost was not measured
    (https://github.com/ggml-org/llama.cpp/pull/15293).
    """
    heads = architecture.kv_heads * architecture.head_dim
    layers = architecture.attention_layers or architecture.layers
    return 2 * layers * heads * _KV_ELEMENT_BYTES


def default_capacity(
    architecture: Architecture | None, available_bytes: int, wish: CapacityWish
) -> Capacity:
    """Fill in what was not asked for.

    The context is the model's own, at most 8,192 tokens; the sequences are the largest of 8, 4, 2
    and 1 whose KV cache takes at most a quarter of the free memory.
    """
    longest = architecture.context_length if architecture else _DEFAULT_CONTEXT
    context = wish.max_model_len or min(longest, _DEFAULT_CONTEXT)
    if wish.max_num_seqs:
        return Capacity(max_model_len=context, max_num_seqs=wish.max_num_seqs)
    if architecture is None:
        return Capacity(max_model_len=context, max_num_seqs=1)
    budget = available_bytes * _KV_SHARE
    one = kv_bytes_per_token(architecture) * context
    sequences = next((count for count in (8, 4, 2) if one * count <= budget), 1)
    return Capacity(max_model_len=context, max_num_seqs=sequences)


def memory_need(
    architecture: Architecture | None,
    precision: str | None,
    capacity: Capacity,
    available_bytes: int,
) -> MemoryNeed | None:
    """Add up what serving takes; None when architecture or precision are not known.

    It is graded tight when less than a tenth of the free memory would be left.
    """
    weights = weights_bytes(architecture, precision) if architecture else None
    if architecture is None or weights is None:
        return None
    per_token = kv_bytes_per_token(architecture)
    widest = architecture.vocabulary + 2 * architecture.intermediate_size
    compute = 4 * _MICRO_BATCH * (widest + 4 * architecture.hidden_size)
    kv_cache = per_token * capacity.max_model_len * capacity.max_num_seqs
    spare = available_bytes - weights - compute - _RUNTIME_BYTES
    tokens = max(0, spare // per_token)
    fitting = min(tokens, architecture.context_length)
    left = spare - kv_cache
    return MemoryNeed(
        weights_bytes=weights,
        kv_cache_bytes=kv_cache,
        compute_bytes=compute,
        runtime_bytes=_RUNTIME_BYTES,
        kv_bytes_per_token=per_token,
        kv_tokens=tokens,
        sequences=tokens // capacity.max_model_len,
        fitting_context=fitting // 256 * 256 if fitting >= _SMALLEST_CONTEXT else None,
        grade=_grade(left, available_bytes),
    )


def _grade(left: int, available_bytes: int) -> Grade:
    if left < 0:
        return Grade.NO_FIT
    return Grade.OK if left >= available_bytes * _COMFORT else Grade.TIGHT


def decoding_threads(weights_bytes: int | None, cores: int) -> int:
    """Threads that decode fastest without starving the machine.

    OpenMP waits actively: with all cores taken, or with a model that fits the cache, the threads
    spin against each other (measured: 119 tokens/s instead of 2,200 for 8 clients).
    """
    if weights_bytes is not None and weights_bytes < _TINY_WEIGHTS_BYTES:
        return 1
    return max(1, cores - 1)
