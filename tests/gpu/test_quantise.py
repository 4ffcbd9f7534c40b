"""`quantise_checkpoint.py` with the real ModelOpt, on the demo model.

NIMCTL_TEST_MODELOPT_PYTHON is the interpreter of an environment with `nvidia-modelopt[hf]==0.37.0`
(the version that TensorRT-LLM 1.2.1 pins), torch and `transformers<4.58`. All but nvfp4 also run
on a CPU.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

import nimctl
from nimctl import engines
from nimctl.core.trtllm.quantise import PROGRAM

PATH = Path(engines.__file__).parent / "trtllm" / "programs" / PROGRAM
DEMO = Path(nimctl.__file__).parent / "models" / "capitals-demo"
PYTHON = os.environ.get("NIMCTL_TEST_MODELOPT_PYTHON")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not PYTHON, reason="set NIMCTL_TEST_MODELOPT_PYTHON"),
]


@pytest.mark.parametrize(
    ("precision", "kv_cache", "algorithms"),
    [
        ("fp8", "fp8", ("FP8", "FP8")),
        ("fp8", "auto", ("FP8", None)),
        ("int4_awq", "auto", ("W4A16_AWQ", None)),
        ("w4a8_awq", "fp8", ("W4A8_AWQ", "FP8")),
        ("nvfp4", "fp8", ("NVFP4", "FP8")),
    ],
)
def test_a_checkpoint_is_quantised_and_says_how(
    tmp_path: Path, precision: str, kv_cache: str, algorithms: tuple[str, str | None]
) -> None:
    texts = tmp_path / "train.jsonl"
    texts.write_text('{"text": "The capital of France is called Paris."}\n' * 4)
    output = tmp_path / "checkpoint"
    argv: list[str | Path] = [
        *("--checkpoint", DEMO, "--calibration", texts, "--output", output),
        *("--format", precision, "--kv-cache", kv_cache),
    ]
    done = subprocess.run([str(PYTHON), PATH, *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Quantization done. Total time used" in done.stdout
    said = json.loads((output / "hf_quant_config.json").read_text())["quantization"]
    assert (said["quant_algo"], said["kv_cache_quant_algo"]) == algorithms
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in output.iterdir()
    }
