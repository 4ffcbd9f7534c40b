"""Decoder-only transformers as numbers: what their memory depends on."""

from nimctl.core.value import Value


class LatentAttention(Value):
    """Multi-head latent attention: what is cached of a token in a layer, in elements."""

    kv_lora_rank: int
    rope_dim: int


class Architecture(Value):
    """The numbers of a decoder-only transformer that memory depends on.

    `parameters` counts all experts of a mixture. `class_name` is the entry of `architectures` in
    `config.json`. `attention_layers` is the number of layers that keep a KV cache where others do
    not (hybrids of Mamba and attention). `source` is where the numbers stand; `unverified` tells
    that nothing confirmed them.
    """

    parameters: int
    layers: int
    hidden_size: int
    intermediate_size: int
    vocabulary: int
    heads: int
    kv_heads: int
    head_dim: int
    context_length: int
    tied_embeddings: bool = False
    class_name: str | None = None
    experts: int | None = None
    active_parameters: int | None = None
    attention_layers: int | None = None
    latent_attention: LatentAttention | None = None
    source: str | None = None
    unverified: bool = False
