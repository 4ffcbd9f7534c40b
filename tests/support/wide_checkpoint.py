"""Write a random Llama checkpoint of some 100 MB: `python wide_checkpoint.py DIRECTORY`."""

import json
import shutil
import struct
import sys
from pathlib import Path

import numpy as np

import nimctl

DEMO = Path(nimctl.__file__).parent / "models" / "capitals-demo"
LAYERS, HIDDEN, WIDE = 8, 1024, 4096


def main(directory: Path) -> None:
    """The demo model's tokenizer around larger weights."""
    directory.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(DEMO / name, directory / name)
    config = json.loads((DEMO / "config.json").read_text())
    config |= {
        "hidden_size": HIDDEN,
        "intermediate_size": WIDE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
    }
    (directory / "config.json").write_text(json.dumps(config))
    shapes = {"model.embed_tokens.weight": [1024, HIDDEN], "model.norm.weight": [HIDDEN]}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        shapes |= {
            prefix + "input_layernorm.weight": [HIDDEN],
            prefix + "post_attention_layernorm.weight": [HIDDEN],
            prefix + "self_attn.q_proj.weight": [1024, HIDDEN],
            prefix + "self_attn.k_proj.weight": [256, HIDDEN],
            prefix + "self_attn.v_proj.weight": [256, HIDDEN],
            prefix + "self_attn.o_proj.weight": [HIDDEN, 1024],
            prefix + "mlp.gate_proj.weight": [WIDE, HIDDEN],
            prefix + "mlp.up_proj.weight": [WIDE, HIDDEN],
            prefix + "mlp.down_proj.weight": [HIDDEN, WIDE],
        }
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    random = np.random.default_rng(7)
    with (directory / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for shape in shapes.values():
            file.write((random.standard_normal(shape) * 0.02).astype(np.float16).tobytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
