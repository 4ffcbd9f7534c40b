"""The fixed sizes of an engine."""

from collections.abc import Iterator

import msgspec

from nimctl.core.architecture import Architecture
from nimctl.core.errors import HardwareError, UsageError
from nimctl.core.memory import (
    ANY_CAPACITY,
    GpuShare,
    Grade,
    Limits,
    default_limits,
    gpu_memory_need,
)
from nimctl.core.value import Value

_LATENCY_BATCH = 64
_SMALLEST_BATCH, _SMALLEST_TOKENS = 8, 1024
# The default of `--tokens_per_block`.
_BLOCK_TOKENS = 32
_GIB = 2**30


class EngineLimits(Limits):
    """What an engine is built for; `max_beam_width` is the number of beams of a search."""

    max_beam_width: int = 1


class LimitsWish(Value):
    """Limits as far as they were asked for."""

    max_batch_size: int | None = None
    max_num_tokens: int | None = None
    max_seq_len: int | None = None
    max_beam_width: int | None = None

    @property
    def asked(self) -> dict[str, int]:
        """Those that were."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value}


def limits_for(
    wish: LimitsWish,
    architecture: Architecture,
    share: GpuShare,
    memory_bytes: int,
    target: str | None,
) -> EngineLimits:
    """Fill in what was not asked for, by the memory of one GPU; smaller where it would not fit.

    For latency the batch is small (inferred: no document gives a number).

    Raises:
        UsageError: A limit is below one, longer than what the model was trained for, or one that
            the builder would change.
        HardwareError: What was asked for does not fit the GPU.
    """
    _check(wish, architecture.context_length)
    usual = default_limits(architecture, memory_bytes, ANY_CAPACITY, tp=share.tp)
    batch = usual.max_batch_size
    if target == "latency":
        batch = min(batch, _LATENCY_BATCH)
    first = EngineLimits(
        max_batch_size=batch,
        max_num_tokens=usual.max_num_tokens,
        max_seq_len=usual.max_seq_len,
        max_beam_width=1,
    )
    for candidate in _smaller(first):
        limits = _as_built(msgspec.structs.replace(candidate, **wish.asked), wish)
        need = gpu_memory_need(architecture, share, _with_beams(limits), memory_bytes)
        if need is None or need.grade is not Grade.NO_FIT:
            return limits
    shorter = " or ".join(f"--{name.replace('_', '-')}" for name in wish.asked) or "--max-seq-len"
    raise HardwareError(
        f"an engine in {share.precision} for {limits.max_seq_len} tokens does not fit a GPU of "
        f"{memory_bytes / _GIB:.1f} GiB",
        cause=f"with tp{share.tp} and pp{share.pp} the weights take "
        f"{need.weights_bytes / _GIB:.1f} GiB of each, a step of {limits.max_num_tokens:,} tokens "
        f"and {limits.max_batch_size:,} requests{_beams(limits)} "
        f"{need.compute_bytes / _GIB:.1f} GiB"
        if need
        else None,
        hint=f"use more GPUs with --tp, fewer bits with --precision, or a smaller {shorter}",
    )


def _as_built(limits: EngineLimits, wish: LimitsWish) -> EngineLimits:
    """The limits that the engine will have: the builder lowers its tokens to what requests can use.

    NVIDIA/TensorRT-LLM, `check_max_num_tokens`, which `build` calls.
    """
    most = limits.max_batch_size * limits.max_seq_len
    if limits.max_num_tokens <= most:
        return limits
    if wish.max_num_tokens:
        raise UsageError(
            f"--max-num-tokens {wish.max_num_tokens} is more than a step can have",
            cause=f"{limits.max_batch_size} requests of {limits.max_seq_len} tokens have {most:,},"
            " which trtllm-build would take instead",
            hint=f"--max-num-tokens {most}, or leave it out",
        )
    return msgspec.structs.replace(limits, max_num_tokens=most)


def _with_beams(limits: EngineLimits) -> Limits:
    """What memory has to hold: each beam of a request is a sequence of its own in a step.

    The builder counts so too, `max_batch_size * max_beam_width` (NVIDIA/TensorRT-LLM,
    tensorrt_llm/commands/build.py at 008b2b8d, `--opt_num_tokens`). Keys and values are counted
    once, as beams share those of their prompt.
    """
    beams = limits.max_beam_width
    return Limits(
        max_batch_size=limits.max_batch_size * beams,
        max_num_tokens=limits.max_num_tokens,
        max_seq_len=limits.max_seq_len,
    )


def _smaller(limits: EngineLimits) -> Iterator[EngineLimits]:
    batch, tokens = limits.max_batch_size, limits.max_num_tokens
    while batch >= _SMALLEST_BATCH:
        yield msgspec.structs.replace(limits, max_batch_size=batch, max_num_tokens=tokens)
        batch, tokens = batch // 2, max(_SMALLEST_TOKENS, tokens // 2)


def _beams(limits: EngineLimits) -> str:
    return f" of {limits.max_beam_width} beams" if limits.max_beam_width > 1 else ""


def _check(wish: LimitsWish, context_length: int) -> None:
    for name, value in msgspec.structs.asdict(wish).items():
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be at least 1")
    if wish.max_num_tokens and wish.max_num_tokens < _BLOCK_TOKENS:
        raise UsageError(
            f"--max-num-tokens {wish.max_num_tokens} is less than a block of the KV cache",
            cause=f"trtllm-build would take the {_BLOCK_TOKENS} of a block instead",
            hint=f"--max-num-tokens {_BLOCK_TOKENS}, or more",
        )
    if wish.max_seq_len and wish.max_seq_len > context_length:
        raise UsageError(
            f"--max-seq-len {wish.max_seq_len} is longer than the model's context",
            cause=f"it was trained for {context_length} tokens",
            hint=f"--max-seq-len {context_length}",
        )
