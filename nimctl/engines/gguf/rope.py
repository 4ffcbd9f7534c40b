"""Rotary position embeddings: from transformers' parameters to those of llama.cpp.

The formulas are those of transformers 5.23.0 (modeling_rope_utils.py); llama.cpp computes linear
and YaRN scaling itself and takes Llama 3's as one divisor a frequency (`rope_freqs`).
"""

import math
from collections.abc import Callable
from pathlib import Path

import msgspec

from nimctl.core.checkpoint import CONFIG_FILE
from nimctl.core.value import Value
from nimctl.engines.gguf.config import Config
from nimctl.engines.gguf.metadata import Metadata
from nimctl.engines.gguf.refusals import corrupt, unsupported

_DEFAULT_THETA = 10_000.0


class Rotation(Value):
    """Metadata, with keys relative to `{architecture}.rope.`, and the divisors of frequencies.

    `divisors` has one number for each pair of a head's elements, or is empty.
    """

    metadata: Metadata
    divisors: tuple[float, ...] = ()


class _Parameters(msgspec.Struct, frozen=True):
    rope_type: str | None = None
    type: str | None = None
    rope_theta: float | None = None
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position_embeddings: int | None = None
    beta_fast: float | None = None
    beta_slow: float | None = None
    attention_factor: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True
    partial_rotary_factor: float = 1.0


def rotation(config: Config) -> Rotation:
    """Translate a model's rotary embedding.

    Raises:
        UnsupportedModelError: A scaling that llama.cpp does not compute the same way.
        VerificationError: The parameters make no sense.
    """
    parameters = _parameters(config)
    if parameters.partial_rotary_factor != 1.0:
        raise unsupported("the model rotates only a part of each head, which GGUF cannot say")
    theta = parameters.rope_theta or config.rope_theta or _DEFAULT_THETA
    kind = parameters.rope_type or parameters.type or "default"
    scale = _SCALINGS.get(kind)
    if scale is None:
        raise unsupported(
            f"the rotary scaling {kind!r} cannot be converted to GGUF",
            cause="it can be done for " + ", ".join(_SCALINGS),
        )
    scaled = scale(config, parameters, theta)
    metadata: Metadata = {"dimension_count": config.head_size, "freq_base": theta}
    return Rotation(metadata=metadata | scaled.metadata, divisors=scaled.divisors)


def _parameters(config: Config) -> _Parameters:
    raw = config.rope_parameters or config.rope_scaling or {}
    file = Path(CONFIG_FILE)
    try:
        parameters = msgspec.convert(raw, _Parameters)
    except msgspec.ValidationError as error:
        raise corrupt(file, f"its rotary parameters: {error}") from error
    if parameters.factor <= 0 or parameters.high_freq_factor <= parameters.low_freq_factor:
        raise corrupt(file, f"its rotary parameters contradict themselves: {raw}")
    return parameters


def _unscaled(_config: Config, _parameters: _Parameters, _theta: float) -> Rotation:
    return Rotation(metadata={})


def _linear(_config: Config, parameters: _Parameters, _theta: float) -> Rotation:
    return Rotation(metadata={"scaling.type": "linear", "scaling.factor": parameters.factor})


def _yarn(config: Config, parameters: _Parameters, _theta: float) -> Rotation:
    unusual = (parameters.attention_factor, parameters.mscale, parameters.mscale_all_dim)
    if any(value is not None for value in unusual) or not parameters.truncate:
        raise unsupported("YaRN with its own attention factor cannot be converted to GGUF")
    metadata: Metadata = {
        "scaling.type": "yarn",
        "scaling.factor": parameters.factor,
        "scaling.original_context_length": _original_context(config, parameters),
    }
    if parameters.beta_fast:
        metadata["scaling.yarn_beta_fast"] = parameters.beta_fast
    if parameters.beta_slow:
        metadata["scaling.yarn_beta_slow"] = parameters.beta_slow
    return Rotation(metadata=metadata)


def _llama3(config: Config, parameters: _Parameters, theta: float) -> Rotation:
    # Only llama.cpp's llama graph reads rope_freqs; its qwen graphs pass none to ggml_rope_ext.
    if not config.class_name.startswith(("Llama", "Mistral")):
        raise unsupported(f"Llama 3's rotary scaling in a {config.class_name} has no GGUF form")
    context = _original_context(config, parameters)
    low, high = parameters.low_freq_factor, parameters.high_freq_factor

    def divisor(pair: int) -> float:
        wavelength = 2 * math.pi * math.pow(theta, 2 * pair / config.head_size)
        smooth = (context / wavelength - low) / (high - low)
        kept = min(max(smooth, 0.0), 1.0)
        return 1 / ((1 - kept) / parameters.factor + kept)

    return Rotation(
        metadata={}, divisors=tuple(divisor(pair) for pair in range(config.head_size // 2))
    )


def _original_context(config: Config, parameters: _Parameters) -> int:
    return parameters.original_max_position_embeddings or config.max_position_embeddings


_SCALINGS: dict[str, Callable[[Config, _Parameters, float], Rotation]] = {
    "default": _unscaled,
    "linear": _linear,
    "yarn": _yarn,
    "llama3": _llama3,
}
