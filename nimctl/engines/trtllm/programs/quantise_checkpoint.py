"""Quantise a Hugging Face checkpoint with ModelOpt and write it as one: runs in the container.

nimctl mounts this file into TensorRT-LLM's image, which has ModelOpt, PyTorch and transformers. It
imports nothing of nimctl, and downloads nothing: texts for the calibration are a local file.

ModelOpt's API: https://nvidia.github.io/Model-Optimizer/guides/_pytorch_quantization.html and
https://nvidia.github.io/Model-Optimizer/deployment/3_unified_hf.html.
"""

import argparse
import copy
import csv
import json
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

# Names of configurations in modelopt.torch.quantization.
FORMATS = {
    "fp8": "FP8_DEFAULT_CFG",
    "nvfp4": "NVFP4_DEFAULT_CFG",
    "int4_awq": "INT4_AWQ_CFG",
    "w4a8_awq": "W4A8_AWQ_BETA_CFG",
    "int8_sq": "INT8_SMOOTHQUANT_CFG",
}
KV_CACHES = {"auto": None, "fp8": "FP8_KV_CFG"}
_LONGEST_TOKENS = 512
# AWQ searches a scale for every layer; TensorRT-LLM's quantize.py takes no more for it either.
_AWQ_SAMPLES = 32


def main(argv: list[str] | None = None) -> int:
    """Read, measure, quantise, write."""
    options = parser().parse_args(argv)
    texts = list(islice(read_texts(options.calibration), _samples(options)))
    if not texts:
        print(f"error: {options.calibration} has no texts", file=sys.stderr)
        return 1
    # Seconds, which --help and a wrong file need not take.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    print(f"Initializing model from {options.checkpoint}", flush=True)
    tokenizer = AutoTokenizer.from_pretrained(options.checkpoint)
    model = AutoModelForCausalLM.from_pretrained(
        options.checkpoint, torch_dtype="auto", device_map=_device_map(torch)
    ).eval()
    print("Starting quantization...", flush=True)
    began = time.monotonic()
    quantise(model, tokenizer, texts, options)
    print(f"Quantization done. Total time used: {time.monotonic() - began:.2f} s.", flush=True)
    export(model, tokenizer, options.output)
    print(f"Quantized model exported to {options.output}", flush=True)
    return 0


def read_texts(path: Path) -> Iterator[str]:
    """Texts of a file: the field `text` of JSON or CSV, one a line of any other."""
    if path.suffix == ".parquet":
        import pyarrow.parquet

        yield from (str(text) for text in pyarrow.parquet.read_table(path)["text"].to_pylist())
        return
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".json":
            yield from (row["text"] for row in json.load(file))
        elif path.suffix == ".jsonl":
            yield from (json.loads(line)["text"] for line in file if line.strip())
        elif path.suffix == ".csv":
            yield from (row["text"] for row in csv.DictReader(file))
        else:
            yield from (line.strip() for line in file if line.strip())


def quantise(model: Any, tokenizer: Any, texts: list[str], options: argparse.Namespace) -> None:
    """Measure activations with the texts, and set every layer's scales."""
    import modelopt.torch.quantization as mtq
    import torch

    configuration = copy.deepcopy(getattr(mtq, FORMATS[options.format]))
    kv_cache = KV_CACHES[options.kv_cache]
    if kv_cache is not None:
        configuration["quant_cfg"].update(getattr(mtq, kv_cache)["quant_cfg"])

    def calibrate(quantised: Any) -> None:
        with torch.no_grad():
            for number, text in enumerate(texts, 1):
                tokens = tokenizer(
                    text, return_tensors="pt", truncation=True, max_length=_LONGEST_TOKENS
                )
                quantised(**tokens.to(quantised.device))
                print(f"Calibrating batch {number} of {len(texts)}", flush=True)

    mtq.quantize(model, configuration, forward_loop=calibrate)


def export(model: Any, tokenizer: Any, output: Path) -> None:
    """Write weights with their scales, `hf_quant_config.json` and the tokenizer."""
    import torch
    from modelopt.torch.export import export_hf_checkpoint

    with torch.inference_mode():
        export_hf_checkpoint(model, export_dir=str(output))
    tokenizer.save_pretrained(str(output))


def _samples(options: argparse.Namespace) -> int:
    samples: int = options.samples
    return min(samples, _AWQ_SAMPLES) if "awq" in options.format else samples


def _device_map(torch: Any) -> str:
    return "auto" if torch.cuda.is_available() else "cpu"


def parser() -> argparse.ArgumentParser:
    """What the program takes."""
    made = argparse.ArgumentParser(description="Quantise a checkpoint with ModelOpt.")
    made.add_argument("--checkpoint", required=True)
    made.add_argument("--calibration", type=Path, required=True)
    made.add_argument("--format", choices=sorted(FORMATS), required=True)
    made.add_argument("--kv-cache", choices=sorted(KV_CACHES), default="auto")
    made.add_argument("--samples", type=int, default=512)
    made.add_argument("--output", type=Path, required=True)
    return made


if __name__ == "__main__":
    sys.exit(main())
