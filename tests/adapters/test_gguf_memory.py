"""Memory while converting does not grow with the model."""

import json
import subprocess
import sys
from math import prod
from pathlib import Path

from gguf_fixtures import copy_case, edit_json

from nimctl.engines.gguf.architecture import describe
from nimctl.engines.gguf.config import read_config

# One layer of Llama 2 7B, and 16,384 embeddings: 673 MB in bf16.
SHAPE = {
    "hidden_size": 4096,
    "head_dim": 128,
    "intermediate_size": 11008,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "num_hidden_layers": 1,
    "vocab_size": 16384,
    "tie_word_embeddings": False,
}
LARGEST_RESIDENT_MIB = 250

PROBE = """
import re, sys
from pathlib import Path
from nimctl.engines.gguf.__main__ import main
code = main(sys.argv[1:])
# Not ru_maxrss: that counts what the parent had before exec, too.
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
sys.exit(code)
"""


def write_zeros(checkpoint: Path) -> int:
    """Write the tensors of `config.json` as a sparse file; their size in bytes."""
    header = {}
    end = 0
    for rule in describe(read_config(checkpoint)).tensors:
        start, end = end, end + 2 * prod(rule.shape)
        header[rule.source] = {
            "dtype": "BF16",
            "shape": rule.shape,
            "data_offsets": (start, end),
        }
    encoded = json.dumps(header).encode()
    with (checkpoint / "model.safetensors").open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        file.truncate(8 + len(encoded) + end)
    return end


def test_a_model_of_673_mb_is_converted_in_250_mib(tmp_path: Path) -> None:
    checkpoint = copy_case("llama", tmp_path)
    edit_json(checkpoint / "config.json", **SHAPE)
    size = write_zeros(checkpoint)
    assert size > 640 * 2**20
    output = tmp_path / "model.gguf"
    done = subprocess.run(
        [
            *(sys.executable, "-c", PROBE, "--checkpoint", str(checkpoint)),
            *("--precision", "q8_0", "--output", str(output)),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert output.stat().st_size > size * 0.53
    output.unlink()
    assert int(done.stdout) // 1024 < LARGEST_RESIDENT_MIB
