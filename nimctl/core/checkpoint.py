"""Hugging Face checkpoints, as far as a choice depends on them."""

from collections.abc import Mapping, Sequence

import msgspec

from nimctl.core.architecture import Architecture, SlidingWindow, decoder_parameters
from nimctl.core.value import Value

CONFIG_FILE = "config.json"
CONVERTIBLE = (
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
)


# What a server computes in when nothing else is said: vLLM's `--dtype auto` takes fp16 for fp16 and
# fp32, https://docs.vllm.ai/en/latest/configuration/engine_args.html.
_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp16"}
# `quant_method` in `quantization_config`, https://huggingface.co/docs/transformers/quantization/overview;
# ModelOpt names the format in `quant_algo`.
_METHODS = {"fp8": "fp8", "awq": "int4_awq", "gptq": "int4_gptq", "mxfp4": "mxfp4"}
_ALGORITHMS = {"FP8": "fp8", "NVFP4": "nvfp4", "W4A16_AWQ": "int4_awq"}


class Checkpoint(Value):
    """What `config.json` says: which class of model, in which precision, of which numbers.

    `precision` is None for a quantisation that is not known.
    """

    class_name: str | None = None
    precision: str | None = "fp16"
    quantised: bool = False
    architecture: Architecture | None = None


def read_checkpoint(config: Mapping[str, object]) -> Checkpoint:
    """Read `config.json`; without one nothing is known."""
    quantisation = config.get("quantization_config")
    quantised = isinstance(quantisation, Mapping)
    return Checkpoint(
        class_name=class_name(config),
        precision=_quantised(quantisation) if isinstance(quantisation, Mapping) else _dtype(config),
        quantised=quantised,
        architecture=read_architecture(config),
    )


def _quantised(quantisation: Mapping[str, object]) -> str | None:
    by_method = _METHODS.get(str(quantisation.get("quant_method")))
    return by_method or _ALGORITHMS.get(str(quantisation.get("quant_algo")))


def _dtype(config: Mapping[str, object]) -> str:
    # transformers 5 writes `dtype`, 4 `torch_dtype`.
    named = str(config.get("dtype") or config.get("torch_dtype") or "")
    return _DTYPES.get(named, "fp16")


def class_name(config: Mapping[str, object]) -> str | None:
    """The first entry of `architectures`, for example `LlamaForCausalLM`."""
    names = config.get("architectures")
    if isinstance(names, Sequence) and not isinstance(names, str) and names:
        return str(names[0])
    return None


def read_architecture(config: Mapping[str, object]) -> Architecture | None:
    """Read `config.json` of a Llama-like decoder; None when a number that counts is missing.

    Parameters are counted as `decoder_parameters` does.
    """
    hidden = whole_number(config, "hidden_size")
    layers = whole_number(config, "num_hidden_layers")
    heads = whole_number(config, "num_attention_heads")
    intermediate = whole_number(config, "intermediate_size")
    vocabulary = whole_number(config, "vocab_size")
    if not (hidden and layers and heads and intermediate and vocabulary):
        return None
    kv_heads = whole_number(config, "num_key_value_heads") or heads
    head_dim = whole_number(config, "head_dim") or hidden // heads
    read = Architecture(
        parameters=1,
        layers=layers,
        hidden_size=hidden,
        intermediate_size=intermediate,
        vocabulary=vocabulary,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        context_length=_context_length(config, layers),
        tied_embeddings=config.get("tie_word_embeddings") is True,
        class_name=class_name(config),
        sliding_window=_sliding_window(config, layers),
    )
    return msgspec.structs.replace(read, parameters=decoder_parameters(read) or 1)


def _sliding_window(config: Mapping[str, object], layers: int) -> SlidingWindow | None:
    """The window of some layers; None where all have one or none has.

    transformers lists what each layer attends to in `layer_types`
    (src/transformers/models/gpt_oss/configuration_gpt_oss.py).
    """
    tokens, kinds = whole_number(config, "sliding_window"), config.get("layer_types")
    if tokens is None or not isinstance(kinds, Sequence):
        return None
    windowed = list(kinds).count("sliding_attention")
    return SlidingWindow(tokens=tokens, layers=windowed) if 0 < windowed < layers else None


def _context_length(config: Mapping[str, object], layers: int) -> int:
    longest = whole_number(config, "max_position_embeddings") or 2048
    if class_name(config) not in CONVERTIBLE and _sliding_window(config, layers):
        return longest
    window = whole_number(config, "sliding_window")
    # llama.cpp's graphs for convertible classes attend to all tokens: exact up to the window only.
    in_use = window is not None and config.get("use_sliding_window") is not False
    return min(longest, window) if window and in_use else longest


def whole_number(config: Mapping[str, object], key: str) -> int | None:
    """A number of a configuration, where it is a whole one above zero."""
    value = config.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
