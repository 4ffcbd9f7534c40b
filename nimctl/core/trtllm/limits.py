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
        UsageError: A limit is below one, or longer than what the model was trained for.
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
        limits = msgspec.structs.replace(candidate, **wish.asked)
        need = gpu_memory_need(architecture, share, limits, memory_bytes)
        if need is None or need.grade is not Grade.NO_FIT:
            return limits
    shorter = " or ".join(f"--{name.replace('_', '-')}" for name in wish.asked) or "--max-seq-len"
    raise HardwareError(
        f"an engine in {share.precision} for {limits.max_seq_len} tokens does not fit a GPU of "
        f"{memory_bytes / _GIB:.1f} GiB",
        cause=f"with tp{share.tp} and pp{share.pp} the weights take "
        f"{need.weights_bytes / _GIB:.1f} GiB of each, a step of {limits.max_num_tokens:,} tokens "
        f"and {limits.max_batch_size:,} requests {need.compute_bytes / _GIB:.1f} GiB"
        if need
        else None,
        hint=f"use more GPUs with --tp, fewer bits with --precision, or a smaller {shorter}",
    )


def _smaller(limits: EngineLimits) -> Iterator[EngineLimits]:
    batch, tokens = limits.max_batch_size, limits.max_num_tokens
    while batch >= _SMALLEST_BATCH:
        yield msgspec.structs.replace(limits, max_batch_size=batch, max_num_tokens=tokens)
        batch, tokens = batch // 2, max(_SMALLEST_TOKENS, tokens // 2)


def _check(wish: LimitsWish, context_length: int) -> None:
    for name, value in msgspec.structs.asdict(wish).items():
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be at least 1")
    if wish.max_seq_len and wish.max_seq_len > context_length:
        raise UsageError(
            f"--max-seq-len {wish.max_seq_len} is longer than the model's context",
            cause=f"it was trained for {context_length} tokens",
            hint=f"--max-seq-len {context_length}",
        )
