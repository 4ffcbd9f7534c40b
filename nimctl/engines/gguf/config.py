"""`config.json` of the model classes that can be converted.

Field names and defaults are those of transformers 5.23.0.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from nimctl.core.checkpoint import CONFIG_FILE, CONVERTIBLE, class_name
from nimctl.engines.gguf.jsonfile import read_json
from nimctl.engines.gguf.refusals import corrupt, unsupported

Positive = Annotated[int, msgspec.Meta(gt=0)]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that conversion depends on; unknown ones are ignored."""

    architectures: list[str]
    hidden_size: Positive
    intermediate_size: Positive
    num_hidden_layers: Positive
    num_attention_heads: Positive
    num_key_value_heads: Positive | None = None
    head_dim: Positive | None = None
    vocab_size: Positive
    max_position_embeddings: Positive
    rms_norm_eps: float = 1e-6
    hidden_act: str = "silu"
    partial_rotary_factor: float = 1.0
    attention_bias: bool = False
    mlp_bias: bool = False
    tie_word_embeddings: bool = False
    sliding_window: Positive | None = None
    use_sliding_window: bool = False
    rope_theta: float | None = None
    rope_scaling: dict[str, Any] | None = None
    rope_parameters: dict[str, Any] | None = None
    name_or_path: str | None = msgspec.field(default=None, name="_name_or_path")

    @property
    def class_name(self) -> str:
        """For example `LlamaForCausalLM`."""
        return self.architectures[0]

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values; fewer than query heads with grouped-query attention."""
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def head_size(self) -> int:
        """Elements of one head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads


def read_config(checkpoint: Path) -> Config:
    """Read and judge `config.json`.

    Raises:
        UnsupportedModelError: Another model class, a quantised checkpoint, or an activation or
            partial rotation that the GGUF architectures do not have.
        VerificationError: The file is missing, malformed or contradicts itself.
    """
    file = checkpoint / CONFIG_FILE
    raw = read_json(file, dict[str, Any])
    _refuse_foreign(raw)
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        raise corrupt(file, str(error)) from error
    if config.num_attention_heads % config.kv_heads:
        raise corrupt(
            file, f"{config.num_attention_heads} heads do not share {config.kv_heads} key heads"
        )
    if config.head_size % 2:
        raise corrupt(file, f"heads of {config.head_size} elements cannot be rotated in pairs")
    if config.hidden_act != "silu":
        raise unsupported(f"the activation {config.hidden_act} of {file} has no GGUF counterpart")
    if config.partial_rotary_factor != 1.0:
        raise unsupported(f"{file} rotates only a part of each head, which GGUF cannot say")
    return config


def _refuse_foreign(raw: Mapping[str, object]) -> None:
    name = class_name(raw)
    if name not in CONVERTIBLE:
        raise unsupported(
            f"a {name or 'model without architectures'} cannot be converted to GGUF",
            cause="it can be done for " + ", ".join(CONVERTIBLE),
        )
    quantization = raw.get("quantization_config")
    if quantization:
        method = quantization.get("quant_method") if isinstance(quantization, Mapping) else None
        raise unsupported(
            "a quantised checkpoint cannot be converted to GGUF",
            cause=f"its quantisation is {method or 'unknown'}",
        )
