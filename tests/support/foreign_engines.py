"""Engines as other machines would have built them: files that look like TensorRT-LLM's, no more."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from transfers import sha256_of

from nimctl.core.engine import Engine, EngineFile, EngineRecipe

RANK = b"an engine, as far as nimctl can tell\n" * 3000
TOKENIZER = {"tokenizer.json": b"{}", "tokenizer_config.json": b'{"model_max_length": 512}'}


def engine_files(
    *, tp: int = 1, version: str = "1.2.1", quantised: str | None = None
) -> dict[str, bytes]:
    """The files of an engine: NVIDIA/TensorRT-LLM, tensorrt_llm/builder.py at 008b2b8d."""
    document: dict[str, Any] = {
        "version": version,
        "pretrained_config": {
            "architecture": "LlamaForCausalLM",
            "dtype": "bfloat16",
            "hidden_size": 256,
            "intermediate_size": 512,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "vocab_size": 1024,
            "max_position_embeddings": 512,
            "mapping": {"world_size": tp, "tp_size": tp, "pp_size": 1},
            "quantization": {"quant_algo": quantised, "kv_cache_quant_algo": quantised},
        },
        "build_config": {
            "max_batch_size": 8,
            "max_num_tokens": 1024,
            "max_seq_len": 512,
            "max_beam_width": 1,
        },
    }
    ranks = {f"rank{rank}.engine": RANK + bytes([rank]) for rank in range(tp)}
    return {"config.json": json.dumps(document).encode(), **ranks}


def sidecar_of(
    files: Mapping[str, bytes], reference: str, *, model: str = "ab" * 32, **recipe: Any
) -> bytes:
    """What nimctl wrote beside them on the machine with an H100 that built them.

    `model` is the digest of the checkpoint, `reference` where that came from.
    """
    usual: dict[str, Any] = {
        "backend": "tensorrt_llm",
        "strategy": "tensorrt",
        "precision": "bf16",
        "builder": "tensorrt_llm 1.2.1",
        "kv_cache": "auto",
        "limits": {"max_batch_size": 8, "max_seq_len": 512},
        "tensorrt_version": "10.14.1",
        "compute_capability": "9.0",
        "gpu": "h100_sxm",
    }
    made = EngineRecipe(**(usual | recipe))
    described = (
        EngineFile(path=path, size=len(data), sha256=sha256_of(data))
        for path, data in files.items()
    )
    engine = Engine(
        key=made.key(model),
        model_digest=model,
        reference=reference,
        recipe=made,
        created="2026-11-01T00:00:00+00:00",
        files=tuple(described),
    )
    return msgspec.json.encode(engine)


def write(directory: Path, files: Mapping[str, bytes]) -> str:
    """Put files into a directory; its reference."""
    for path, data in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    return f"file://{directory}"
