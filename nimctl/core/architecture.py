"""Decoder-only transformers as numbers: what their memory depends on."""

from typing import Annotated, Literal

from msgspec import Meta

from nimctl.core.value import Value

Count = Annotated[int, Meta(ge=1)]
Url = Annotated[str, Meta(pattern=r"^https://[^\s/]+/\S*$")]


class LatentAttention(Value):
    """Multi-head latent attention: what is cached of a token in a layer, in elements."""

    kv_lora_rank: Count
    rope_dim: Count


class SlidingWindow(Value):
    """How many layers attend to the last `tokens` only, where the others attend to all.

    `source` is where that stands, if it is another page than the architecture's.
    """

    tokens: Count
    layers: Count
    source: Url | None = None


class Architecture(Value):
    """The numbers of a decoder-only transformer that memory depends on.

    `parameters` counts all experts of a mixture and what is no decoder (`vision_parameters`);
    `parameters_from` tells whether the checkpoint's index states it, it was computed from the
    other numbers, or the model card rounds it. `active_parameters` are those that one token meets,
    embeddings among them, which some model cards leave out. `intermediate_size` is that of one
    expert, the largest where layers differ. `class_name` is the entry of `architectures` in
    `config.json`.
    `attention_layers` is the number of layers that keep a KV cache where others do not (hybrids of
    Mamba and attention, pruned layers); `sliding_window` tells of those among them that look back
    so far only. `source` is where the numbers stand; `unverified` tells
    that nothing confirmed them.
    """

    parameters: Count
    layers: Count
    hidden_size: Count
    intermediate_size: Count
    vocabulary: Count
    heads: Count
    kv_heads: Count
    head_dim: Count
    context_length: Count
    tied_embeddings: bool = False
    class_name: str | None = None
    experts: Count | None = None
    experts_per_token: Count | None = None
    active_parameters: Count | None = None
    attention_layers: Count | None = None
    vision_parameters: Count | None = None
    latent_attention: LatentAttention | None = None
    sliding_window: SlidingWindow | None = None
    parameters_from: Literal["index", "computed", "card"] | None = None
    source: Url | None = None
    unverified: bool = False


def shares_kv_heads(architecture: Architecture, tp: int) -> bool:
    """Whether `tp` GPUs can split the heads of keys and values evenly, or repeat them.

    TensorRT-LLM converts no checkpoint for other degrees: NVIDIA/TensorRT-LLM,
    tensorrt_llm/models/convert_utils.py at 03961722.
    """
    return architecture.kv_heads % tp == 0 or tp % architecture.kv_heads == 0


def decoder_parameters(architecture: Architecture) -> int | None:
    """How many parameters the numbers add up to; None where layers differ from each other.

    Each layer has two norms, the projections of query, key, value and output, and per expert the
    three matrices of a gated MLP. Biases and further norms are left out, below 0.1 %.
    """
    if architecture.attention_layers or architecture.latent_attention:
        return None
    return _outside_experts(architecture) + _experts(architecture, architecture.experts or 1)


def active_parameters(architecture: Architecture) -> int | None:
    """How many of them one token meets, for a mixture of experts; otherwise None."""
    if architecture.experts_per_token is None or decoder_parameters(architecture) is None:
        return None
    return _outside_experts(architecture) + _experts(architecture, architecture.experts_per_token)


def expert_parameters(architecture: Architecture) -> int:
    """How many of them belong to experts; 0 where there are none."""
    return _experts(architecture, architecture.experts) if architecture.experts else 0


def _outside_experts(architecture: Architecture) -> int:
    hidden = architecture.hidden_size
    queries = architecture.heads * architecture.head_dim
    keys = architecture.kv_heads * architecture.head_dim
    attention = 2 * hidden * queries + 2 * hidden * keys
    router = hidden * (architecture.experts or 0)
    embeddings = architecture.vocabulary * hidden * (1 if architecture.tied_embeddings else 2)
    vision = architecture.vision_parameters or 0
    return embeddings + vision + hidden + architecture.layers * (attention + router + 2 * hidden)


def _experts(architecture: Architecture, count: int) -> int:
    return (
        architecture.layers * count * 3 * architecture.hidden_size * architecture.intermediate_size
    )
