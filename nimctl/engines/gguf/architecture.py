"""From a model's configuration to GGUF's architecture: metadata and tensor names.

Names: gguf-py's constants.py and tensor_mapping.py, and
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md#standardized-tensor-names
"""

from collections.abc import Iterator

from nimctl.core.value import Value
from nimctl.engines.gguf.config import Config
from nimctl.engines.gguf.metadata import Metadata
from nimctl.engines.gguf.refusals import unsupported
from nimctl.engines.gguf.rope import rotation

_DERIVED_TENSORS = ("rotary_emb.inv_freq",)
OUTPUT_HEAD = "lm_head.weight"


class TensorRule(Value):
    """One tensor's name and shape in the checkpoint (`source`) and its name in GGUF (`target`).

    `rotated_heads` is the number of heads whose rows change order, 0 for none: transformers pairs
    element i of a head with i + half, llama.cpp's llama graph pairs neighbours.
    """

    source: str
    target: str
    shape: tuple[int, ...]
    rotated_heads: int = 0


class Architecture(Value):
    """What a model becomes in GGUF; `rope_divisors` is the content of `rope_freqs.weight`."""

    name: str
    metadata: Metadata
    tensors: tuple[TensorRule, ...]
    rope_divisors: tuple[float, ...]

    def ignores(self, tensor: str) -> bool:
        """Whether a tensor of the checkpoint follows from others and is left out."""
        return tensor == OUTPUT_HEAD or tensor.endswith(_DERIVED_TENSORS)


class _Family(Value):
    """What the model classes differ in.

    `qkv_bias`: queries, keys and values always have one. `configured_bias`: `attention_bias` and
    `mlp_bias` are obeyed. `always_windowed`: `sliding_window` counts without `use_sliding_window`.
    """

    architecture: str
    rotates_neighbours: bool = False
    qkv_bias: bool = False
    configured_bias: bool = False
    qk_norm: bool = False
    always_windowed: bool = False


FAMILIES = {
    "LlamaForCausalLM": _Family(
        architecture="llama", rotates_neighbours=True, configured_bias=True
    ),
    "MistralForCausalLM": _Family(
        architecture="llama", rotates_neighbours=True, always_windowed=True
    ),
    "Qwen2ForCausalLM": _Family(architecture="qwen2", qkv_bias=True),
    "Qwen3ForCausalLM": _Family(architecture="qwen3", qk_norm=True),
}


def describe(config: Config) -> Architecture:
    """Translate a configuration.

    Raises:
        UnsupportedModelError: The GGUF architecture lacks something that the model has.
        VerificationError: The rotary parameters make no sense.
    """
    family = FAMILIES[config.class_name]
    if config.attention_bias and family.architecture == "qwen3":
        raise unsupported("Qwen3 with attention biases has no GGUF counterpart")
    rope = rotation(config)
    return Architecture(
        name=family.architecture,
        metadata={
            f"{family.architecture}.{key}": value
            for key, value in (
                *_dimensions(config, family).items(),
                *((f"rope.{key}", value) for key, value in rope.metadata.items()),
            )
        },
        tensors=tuple(_tensors(config, family)),
        rope_divisors=rope.divisors,
    )


def _dimensions(config: Config, family: _Family) -> Metadata:
    dimensions: Metadata = {
        "context_length": _context_length(config, family),
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.kv_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "vocab_size": config.vocab_size,
    }
    if config.head_size * config.num_attention_heads != config.hidden_size:
        dimensions["attention.key_length"] = config.head_size
        dimensions["attention.value_length"] = config.head_size
    return dimensions


def _context_length(config: Config, family: _Family) -> int:
    # llama.cpp's llama and qwen graphs attend to everything. Up to the window's length that is
    # the same as sliding attention, so this is the longest context with the model's own answers.
    if config.sliding_window and (family.always_windowed or config.use_sliding_window):
        return min(config.sliding_window, config.max_position_embeddings)
    return config.max_position_embeddings


def _tensors(config: Config, family: _Family) -> Iterator[TensorRule]:
    hidden, vocabulary = config.hidden_size, config.vocab_size
    yield _matrix("model.embed_tokens.weight", "token_embd.weight", vocabulary, hidden)
    yield _vector("model.norm.weight", "output_norm.weight", hidden)
    # Without output.weight llama.cpp takes token_embd.weight, which is what tying means.
    if not config.tie_word_embeddings:
        yield _matrix(OUTPUT_HEAD, "output.weight", vocabulary, hidden)
    for layer in range(config.num_hidden_layers):
        for rule in _layer(config, family):
            yield TensorRule(
                source=f"model.layers.{layer}.{rule.source}",
                target=f"blk.{layer}.{rule.target}",
                shape=rule.shape,
                rotated_heads=rule.rotated_heads,
            )


def _layer(config: Config, family: _Family) -> Iterator[TensorRule]:
    hidden, inner = config.hidden_size, config.intermediate_size
    queries = config.num_attention_heads * config.head_size
    keys = config.kv_heads * config.head_size
    query_heads = config.num_attention_heads if family.rotates_neighbours else 0
    key_heads = config.kv_heads if family.rotates_neighbours else 0
    attention_bias = family.configured_bias and config.attention_bias
    mlp_bias = family.configured_bias and config.mlp_bias
    qkv_bias = family.qkv_bias or attention_bias

    yield _vector("input_layernorm.weight", "attn_norm.weight", hidden)
    yield from _linear(
        "self_attn.q_proj", "attn_q", queries, hidden, bias=qkv_bias, heads=query_heads
    )
    yield from _linear("self_attn.k_proj", "attn_k", keys, hidden, bias=qkv_bias, heads=key_heads)
    yield from _linear("self_attn.v_proj", "attn_v", keys, hidden, bias=qkv_bias)
    yield from _linear("self_attn.o_proj", "attn_output", hidden, queries, bias=attention_bias)
    if family.qk_norm:
        yield _vector("self_attn.q_norm.weight", "attn_q_norm.weight", config.head_size)
        yield _vector("self_attn.k_norm.weight", "attn_k_norm.weight", config.head_size)
    yield _vector("post_attention_layernorm.weight", "ffn_norm.weight", hidden)
    yield from _linear("mlp.gate_proj", "ffn_gate", inner, hidden, bias=mlp_bias)
    yield from _linear("mlp.up_proj", "ffn_up", inner, hidden, bias=mlp_bias)
    yield from _linear("mlp.down_proj", "ffn_down", hidden, inner, bias=mlp_bias)


def _vector(source: str, target: str, size: int) -> TensorRule:
    return TensorRule(source=source, target=target, shape=(size,))


def _matrix(source: str, target: str, rows: int, columns: int) -> TensorRule:
    return TensorRule(source=source, target=target, shape=(rows, columns))


def _linear(
    source: str, target: str, rows: int, columns: int, *, bias: bool, heads: int = 0
) -> Iterator[TensorRule]:
    yield TensorRule(
        source=f"{source}.weight",
        target=f"{target}.weight",
        shape=(rows, columns),
        rotated_heads=heads,
    )
    if bias:
        yield TensorRule(
            source=f"{source}.bias", target=f"{target}.bias", shape=(rows,), rotated_heads=heads
        )
