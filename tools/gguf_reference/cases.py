"""Tiny random models, between them one for each thing that conversion can get wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from vocabularies import Encode, write_bpe, write_sentencepiece

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] }}{% endfor %}"
)
NAMED_TEMPLATES = [
    {"name": "default", "template": CHAT_TEMPLATE},
    {"name": "tool_use", "template": f"{CHAT_TEMPLATE} tools"},
]

_IM = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_LLAMA3 = ("<|end_of_text|>", "<|begin_of_text|>", "<|eot_id|>")
_INSTRUCT = ("[INST]", "[/INST]")

_SIZE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    # Wide, so that greedy answers vary and depend on each weight.
    "initializer_range": 0.25,
    "vocab_size": 384,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}


@dataclass(frozen=True)
class Case:
    """A checkpoint: its configuration (over `_SIZE`), number format, tokenizer and file layout.

    `markers` are the two special tokens in the texts. `legacy` writes rotary parameters and the
    chat template as older versions of transformers did.
    """

    name: str
    architecture: str
    config: dict[str, Any]
    dtype: torch.dtype
    tokenizer: Callable[[Path], tuple[Encode, dict[str, Any]]]
    markers: tuple[str, str]
    chat_template: str | list[dict[str, str]]
    shard_size: str = "1GB"
    legacy: bool = False

    def build(self) -> transformers.PreTrainedModel:
        """The model with random weights, also where transformers initialises with constants."""
        config_class = getattr(transformers, f"{self.architecture}Config")
        model_class = getattr(transformers, f"{self.architecture}ForCausalLM")
        model = model_class(config_class(**_SIZE | self.config))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("bias"):
                    parameter.normal_(0, 0.5)
                elif parameter.dim() == 1:
                    parameter.uniform_(0.5, 1.5)
        return model.to(self.dtype).eval()


CASES = (
    Case(
        name="llama",
        architecture="Llama",
        config={"tie_word_embeddings": True},
        dtype=torch.float16,
        tokenizer=partial(write_bpe, split="gpt-2", specials=_IM, bos=None),
        markers=_IM[1:],
        chat_template=CHAT_TEMPLATE,
    ),
    Case(
        name="llama3",
        architecture="Llama",
        config={
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10_000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
        dtype=torch.bfloat16,
        tokenizer=partial(write_bpe, split="llama-bpe", specials=_LLAMA3, bos="<|begin_of_text|>"),
        markers=_LLAMA3[1:],
        chat_template=CHAT_TEMPLATE,
        shard_size="120KB",
        legacy=True,
    ),
    Case(
        name="llama-biased",
        architecture="Llama",
        config={
            "num_hidden_layers": 1,
            "attention_bias": True,
            "mlp_bias": True,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 2.0},
        },
        dtype=torch.float32,
        tokenizer=partial(write_bpe, split="smollm", specials=_IM, bos=None),
        markers=_IM[1:],
        chat_template=CHAT_TEMPLATE,
    ),
    Case(
        name="mistral",
        architecture="Mistral",
        config={"head_dim": 32, "sliding_window": 64, "vocab_size": 408},
        dtype=torch.bfloat16,
        tokenizer=partial(write_sentencepiece, specials=_INSTRUCT),
        markers=_INSTRUCT,
        chat_template=CHAT_TEMPLATE,
        legacy=True,
    ),
    Case(
        name="qwen2",
        architecture="Qwen2",
        config={
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 1_000.0,
                "factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
        dtype=torch.bfloat16,
        tokenizer=partial(write_bpe, split="qwen2", specials=_IM, bos=None),
        markers=_IM[1:],
        chat_template=NAMED_TEMPLATES,
        shard_size="100KB",
    ),
    Case(
        name="qwen3",
        architecture="Qwen3",
        config={
            "num_hidden_layers": 1,
            "head_dim": 32,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
        },
        dtype=torch.bfloat16,
        tokenizer=partial(write_bpe, split="qwen2", specials=_IM, bos=None),
        markers=_IM[1:],
        chat_template=NAMED_TEMPLATES,
    ),
)
