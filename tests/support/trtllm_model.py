"""A model of a user's own that TensorRT-LLM builds engines of: the demo model, renamed."""

import shutil
from pathlib import Path

import nimctl

DEMO = Path(nimctl.__file__).parent / "models" / "capitals-demo"
NAME = "tiny-llama"
# What a catalogue file says of the demo model, but for its class.
ARCHITECTURE = """\
architecture:
  parameters: 1443072
  layers: 2
  hidden_size: 256
  intermediate_size: 512
  vocabulary: 1024
  heads: 4
  kv_heads: 2
  head_dim: 64
  context_length: 512
  tied_embeddings: true
"""
_FILE = f"""\
schema_version: 1
name: {{name}}
title: A tiny Llama
license: Apache-2.0
reference: file://{{source}}
{ARCHITECTURE}  class_name: {{class_name}}
profiles:
"""
_PROFILE = (
    '  - {{backend: tensorrt_llm, precision: {precision}, source: "file://{source}", '
    "build: true, tp: {tp}}}\n"
)


def add_model(
    environ: dict[str, str],
    directory: Path,
    *,
    behaviour: str | None = None,
    class_name: str = "LlamaForCausalLM",
    profiles: tuple[tuple[str, int], ...] = (("bf16", 1), ("fp8", 1), ("bf16", 2)),
) -> str:
    """Put the model into the user's own catalogue; its name.

    `behaviour` is what the stand-in builder is to do; `profiles` are precisions and degrees of
    tensor parallelism.
    """
    source = directory / "checkpoint"
    shutil.copytree(DEMO, source)
    if behaviour:
        (source / "stand-in.txt").write_text(behaviour)
    rows = (_PROFILE.format(precision=one, source=source, tp=tp) for one, tp in profiles)
    text = _FILE.format(name=NAME, source=source, class_name=class_name) + "".join(rows)
    place = Path(environ["HOME"]) / ".config" / "nimctl" / "profiles"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{NAME}.yaml").write_text(text)
    return NAME


def add_texts(directory: Path) -> Path:
    """A calibration file."""
    texts = directory / "texts.jsonl"
    texts.write_text('{"text": "Paris is the capital of France."}\n')
    return texts
