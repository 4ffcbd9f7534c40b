"""Where the demo model's checkpoint lies and how it is written, in Hugging Face's layout."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from corpus import CHAT_TEMPLATE, DOCUMENT_START, TURN_END, TURN_START
from safetensors.torch import save_file
from tokenizers import Tokenizer

FOLDER = Path(__file__).resolve().parents[2] / "nimctl" / "models" / "capitals-demo"

# Heads of 64 and rows of 256 are what GPU attention kernels and K-quants expect.
ARCHITECTURE: dict[str, Any] = {
    "vocab_size": 1024,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def write(folder: Path, weights: dict[str, torch.Tensor], tokenizer: Tokenizer) -> None:
    """Write weights (as float16), configuration and tokenizer into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    weights_file = folder / "model.safetensors"
    save_file(
        {
            name: tensor.to(torch.float16)
            for name, tensor in weights.items()
            if name != "lm_head.weight"  # tied to the embeddings
        },
        weights_file,
        metadata={"format": "pt"},
    )
    weights_file.chmod(0o644)  # safetensors writes for the owner only; servers run as others
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    _write_json(folder / "config.json", _model_config())
    _write_json(folder / "generation_config.json", _token_ids())
    _write_json(folder / "tokenizer_config.json", _tokenizer_config())
    _write_json(folder / "special_tokens_map.json", _special_tokens())


def weights_sha256(folder: Path) -> str:
    """The SHA-256 of the weights in `folder`, as 64 hex digits."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def _model_config() -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **ARCHITECTURE,
        # transformers 5 reads rope_parameters; most other loaders know only rope_theta.
        "rope_parameters": {"rope_type": "default", "rope_theta": ARCHITECTURE["rope_theta"]},
        "rope_scaling": None,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "initializer_range": 0.02,
        "use_cache": True,
        # The older and the newer name of the same field.
        "torch_dtype": "float16",
        "dtype": "float16",
    }


def _token_ids() -> dict[str, Any]:
    return {key: ARCHITECTURE[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}


def _special_tokens() -> dict[str, Any]:
    return {"bos_token": DOCUMENT_START, "eos_token": TURN_END, "pad_token": DOCUMENT_START}


def _tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": ARCHITECTURE["max_position_embeddings"],
        # Llama takes no token_type_ids; transformers 4 sends them unless told so.
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
        "add_bos_token": False,
        **_special_tokens(),
        "additional_special_tokens": [TURN_START],
        # For loaders that do not read chat_template.jinja.
        "chat_template": CHAT_TEMPLATE,
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
