"""How much of each GPU a TensorRT-LLM, vLLM or SGLang server takes.

    W    = [(P - E) * b_w + E * 2] / (tp * pp)                  weights
    KV   = 2 * layers / pp * max(1, ceil(kv_heads / tp)) * head_dim * b_kv    a token
    A    = 1.5 * max_num_tokens * (2 * intermediate / tp + 6 * hidden) * 2
           + 3 * max_batch_size * vocabulary * 4                activations, logits
    R    = 1.0 GiB, 0.5 more for several GPUs                   context, NCCL, runtime
    pool = 0.9 * (M - W - A - R)                                what holds the KV cache

P counts all experts of a mixture. E, the embedding and the output layer, stays in 16 bits. Layers
with a sliding window take less for the KV cache where the backend lets go of what lies before it
(`kv_cost`). W, KV and pool follow TensorRT-LLM's documentation of its memory use
(https://nvidia.github.io/TensorRT-LLM/reference/memory.html). A and R are fitted to its logs: A is
1.80 GiB for a 7B model in fp8 at 8,192 tokens and 2,048 sequences, where the log adds up to 1.33.
Against measured KV pools the whole is 1 % low (H100) to 8 % high (RTX 5090).
"""

from math import ceil
from typing import NamedTuple

from nimctl.core.architecture import Architecture, expert_parameters
from nimctl.core.memory.need import CapacityWish, Grade, MemoryNeed
from nimctl.core.value import Value

GIB = 2**30
# Degrees that are offered: GPUs of one node.
TENSOR_PARALLEL = (1, 2, 4, 8)
# Bytes per weight with its scales: nvfp4 has one fp8 scale for 16 weights, mxfp4 one byte for 32,
# the int4 kinds a 16-bit scale and a 4-bit zero for 128.
_BYTES_PER_WEIGHT = {
    "fp32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "int8_sq": 1.0,
    "int8wo": 1.0,
    "nvfp4": 0.5625,
    "mxfp4": 0.53125,
    "int4": 0.5195,
    "int4_awq": 0.5195,
    "int4_gptq": 0.5195,
    "w4a16": 0.5195,
    "w4a8_awq": 0.5195,
}
_WIDE_BYTES = 2
# trtllm-bench forces an fp8 KV cache for these (tensorrt_llm/bench/build/build.py); vLLM and SGLang
# keep the model's 16 bits unless told otherwise (`--kv-cache-dtype auto`).
_FP8_KV_PRECISIONS = ("fp8", "nvfp4", "w4a8_awq")
_NARROW_KV_CACHES = ("fp8", "int8")
_BLOCK_TOKENS = 32
# vLLM's hybrid KV cache manager, see `kv_cost`. TensorRT-LLM has `max_attention_window` for it, by
# default None (https://nvidia.github.io/TensorRT-LLM/llm-api/reference/KvCacheConfig.html), and
# nimctl does not give it. How much SGLang frees was not found out.
_LETS_WINDOWS_GO = ("vllm",)
_SMALLEST_CONTEXT = 512
_DEFAULT_CONTEXT = 8192
_TIGHT_TOKENS = 65536
_TIGHT_POOL_BYTES = 10 * 10**9
# Of the memory that is free after loading: https://nvidia.github.io/TensorRT-LLM/reference/memory.html
KV_PERCENT = 90
# A desktop takes more when windows open.
KV_PERCENT_WITH_DISPLAY = 85


class GpuShare(Value):
    """How a model is divided over GPUs, and in how many bits.

    `kv_cache` is the type of the KV cache where one was asked for; `auto` is the model's own 16
    bits. None leaves it to the backend.
    """

    backend: str
    precision: str | None
    tp: int = 1
    pp: int = 1
    kv_cache: str | None = None

    @property
    def kv_bytes(self) -> int:
        """Bytes of one element of the KV cache."""
        if self.kv_cache is not None:
            return 1 if self.kv_cache in _NARROW_KV_CACHES else 2
        fp8 = self.backend == "tensorrt_llm" and self.precision in _FP8_KV_PRECISIONS
        return 1 if fp8 else 2


class Limits(Value):
    """What an engine is built or started for: sequences and tokens of a step, and of a sequence."""

    max_batch_size: int
    max_num_tokens: int
    max_seq_len: int


def default_limits(
    architecture: Architecture, memory_bytes: int, wish: CapacityWish, *, tp: int = 1
) -> Limits:
    """Fill in what was not asked for, by the memory of one GPU.

    The largest batch is where TensorRT-LLM's tuning guide for Llama-3.3-70B peaks on 80 GB cards;
    smaller ones get less, so that activations leave room for the KV cache.
    """
    gib = memory_bytes / GIB
    if gib < 36:  # noqa: PLR2004 - 24 and 32 GB cards
        batch, tokens = 64, 4096
    elif gib < 72:  # noqa: PLR2004 - 40 and 48 GB cards
        batch, tokens = 128, 8192
    else:
        large = gib > 130 and tp > 1  # noqa: PLR2004 - H200, B200
        batch, tokens = 512, 16384 if large else 8192
    return Limits(
        max_batch_size=wish.max_num_seqs or batch,
        max_num_tokens=tokens,
        max_seq_len=wish.max_model_len or min(architecture.context_length, _DEFAULT_CONTEXT),
    )


def weights_bytes(architecture: Architecture, share: GpuShare) -> int | None:
    """Weights on each GPU; None for a precision whose size is not known."""
    per_weight = _BYTES_PER_WEIGHT.get(share.precision or "")
    if per_weight is None:
        return None
    wide = _wide_parameters(architecture, share.precision)
    narrow = architecture.parameters - wide
    return ceil((narrow * per_weight + wide * _WIDE_BYTES) / (share.tp * share.pp))


def _wide_parameters(architecture: Architecture, precision: str | None) -> int:
    """Those that stay in 16 bits when the others do not."""
    if precision == "mxfp4":
        # Only the experts are in it:
        # https://huggingface.co/docs/transformers/quantization/mxfp4 (modules_to_not_convert).
        return architecture.parameters - expert_parameters(architecture)
    copies = 1 if architecture.tied_embeddings else 2
    # That vision towers stay wide is common in quantised checkpoints; unverified as a rule.
    embeddings = architecture.vocabulary * architecture.hidden_size * copies
    return embeddings + (architecture.vision_parameters or 0)


def kv_bytes_per_token(architecture: Architecture, share: GpuShare) -> int:
    """Keys and values of one token in all layers that keep them, on each GPU."""
    return ceil(_layers(architecture) / share.pp) * _layer_bytes(architecture, share)


def _layers(architecture: Architecture) -> int:
    return architecture.attention_layers or architecture.layers


def _layer_bytes(architecture: Architecture, share: GpuShare) -> int:
    """Keys and values of one token in one layer.

    Latent attention (unchecked) is not divided by `tp`, and caches one vector for both.
    """
    latent = architecture.latent_attention
    if latent is not None:
        return (latent.kv_lora_rank + latent.rope_dim) * share.kv_bytes
    heads = max(1, ceil(architecture.kv_heads / share.tp))
    return 2 * heads * architecture.head_dim * share.kv_bytes


class KvCost(NamedTuple):
    """What the KV cache of one sequence takes of each GPU.

    `full` are bytes a token in layers that keep all tokens, `windowed` in those that keep at most
    the last `kept`.
    """

    full: int
    windowed: int = 0
    kept: int = 0

    def of(self, tokens: int) -> int:
        """Bytes of a sequence of so many tokens."""
        return self.full * tokens + self.windowed * min(tokens, self.kept)

    def longest(self, size: int) -> int:
        """How many tokens a sequence can have that takes at most so many bytes."""
        short = size // (self.full + self.windowed)
        return short if short < self.kept else (size - self.windowed * self.kept) // self.full


def kv_cost(architecture: Architecture, share: GpuShare, limits: Limits) -> KvCost:
    """What the layers take, and how much of it depends on a window.

    vLLM keeps the window, the tokens of the step and a block that may be cut in two
    (`SlidingWindowSpec.max_memory_usage_bytes`, vllm/v1/kv_cache_interface.py). It shares pages
    among groups of equally many layers, as many as there are of the rarer kind, and fills the last
    group up: 52 windowed layers beside 10 others take the room of 60
    (https://github.com/vllm-project/vllm/blob/1153c0c859e3d15fa91813fe2e36013e941b339b/docs/design/hybrid_kv_cache_manager.md).
    """
    window = architecture.sliding_window
    if window is None or share.backend not in _LETS_WINDOWS_GO:
        return KvCost(full=kv_bytes_per_token(architecture, share))
    full = ceil((_layers(architecture) - window.layers) / share.pp)
    windowed = ceil(window.layers / share.pp)
    group = min(full, windowed)
    layer = _layer_bytes(architecture, share)
    return KvCost(
        full=ceil(full / group) * group * layer,
        windowed=ceil(windowed / group) * group * layer,
        kept=_whole_blocks(window.tokens - 1 + limits.max_num_tokens) + _BLOCK_TOKENS,
    )


def _whole_blocks(tokens: int) -> int:
    return ceil(tokens / _BLOCK_TOKENS) * _BLOCK_TOKENS


def activation_bytes(architecture: Architecture, share: GpuShare, limits: Limits) -> int:
    """Activations of one step and the logits, on each GPU."""
    width = 2 * architecture.intermediate_size / share.tp + 6 * architecture.hidden_size
    return ceil(
        1.5 * limits.max_num_tokens * width * 2
        + 3 * limits.max_batch_size * architecture.vocabulary * 4
    )


def runtime_bytes(share: GpuShare) -> int:
    """Context, communication and runtime, on each GPU."""
    return GIB + (GIB // 2 if share.tp > 1 else 0)


def gpu_memory_need(
    architecture: Architecture,
    share: GpuShare,
    limits: Limits,
    available_bytes: int,
    *,
    kv_percent: int = KV_PERCENT,
) -> MemoryNeed | None:
    """Add up what serving takes of a GPU with so much memory free.

    It fits when one sequence of full length does. None when the precision's size is not known.
    """
    weights = weights_bytes(architecture, share)
    if weights is None:
        return None
    compute = activation_bytes(architecture, share, limits)
    runtime = runtime_bytes(share)
    cost = kv_cost(architecture, share, limits)
    pool = max(0, available_bytes - weights - compute - runtime) * kv_percent // 100
    length = _whole_blocks(limits.max_seq_len)
    kv_cache = cost.of(length)
    # Of sequences of full length: those that are shorter let less go.
    tokens = pool * length // kv_cache // _BLOCK_TOKENS * _BLOCK_TOKENS
    fitting = min(cost.longest(pool), architecture.context_length)
    return MemoryNeed(
        weights_bytes=weights,
        kv_cache_bytes=kv_cache,
        compute_bytes=compute,
        runtime_bytes=runtime,
        reserve_bytes=-(-kv_cache * 100 // kv_percent) - kv_cache,
        kv_bytes_per_token=-(-kv_cache // length),
        kv_tokens=tokens,
        sequences=tokens // limits.max_seq_len,
        fitting_context=fitting // 256 * 256 if fitting >= _SMALLEST_CONTEXT else None,
        grade=_grade(pool, tokens, limits),
    )


def _grade(pool_bytes: int, tokens: int, limits: Limits) -> Grade:
    if tokens < limits.max_seq_len:
        return Grade.NO_FIT
    if tokens < _TIGHT_TOKENS or pool_bytes < _TIGHT_POOL_BYTES:
        return Grade.TIGHT
    return Grade.OK
