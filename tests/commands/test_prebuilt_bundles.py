"""What `--strategy pytorch` made elsewhere, named as a model: adopted, served, or sent on."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, steps, words
from foreign_engines import TOKENIZER, sidecar_of, write

from nimctl.core.layout import Layout

WEIGHTS = (2).to_bytes(8, "little") + b"{}"
OPTIONS = '{"max_batch_size": 8}'
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 1024,
    "max_position_embeddings": 512,
}


def bundle(directory: Path, *, quantised: bool) -> str:
    """What was made of a model on a machine with an H100; its reference."""
    files = {"llm-options.yaml": OPTIONS.encode()}
    if quantised:
        made = {
            "config.json": json.dumps(CONFIG).encode(),
            "model.safetensors": WEIGHTS,
            **TOKENIZER,
        }
        files |= {f"checkpoint/{name}": data for name, data in made.items()}
    recipe: dict[str, Any] = {
        "strategy": "pytorch",
        "precision": "fp8" if quantised else "bf16",
        "flags": {"llm-options.yaml": OPTIONS},
    }
    return write(directory, {**files, "engine.json": sidecar_of(files, "hf://acme/tiny", **recipe)})


@pytest.mark.usefixtures("h100")
def test_a_bundle_is_adopted(run: Run, tmp_path: Path, layout: Layout) -> None:
    reference = bundle(tmp_path / "made", quantised=True)
    result = run("build-engine", reference, "--json")
    assert result.code == 0, result
    assert f"{reference} has a bundle for PyTorch for h100_sxm, fp8 tp1" in result.err
    assert result.json["built"] is False
    engine = result.json["engine"]
    weights = layout.engine(engine["key"]) / "checkpoint" / "model.safetensors"
    assert weights.stat().st_nlink > 1
    again = run("build-engine", reference)
    assert f"strategy prebuilt: the engine {engine['key'][:12]} is in the store" in again.err


def test_a_bundle_is_served_by_pytorch_with_its_options(run: Run, tmp_path: Path) -> None:
    reference = bundle(tmp_path / "made", quantised=True)
    argv = ("serve", reference, "--gpu", "h100_sxm", "--port", "auto", "--dry-run", "--json")
    plan = run(*argv)
    assert plan.code == 0, plan
    assert [one for one in steps(plan.json) if one in ("Adopt", "Attach")] == ["Adopt", "Attach"]
    (launch,) = [one for one in plan.json["steps"] if one["type"] == "LaunchContainer"]
    spec = launch["container"]
    assert spec["command"][1:3] == ["--backend", "pytorch"]
    assert any(one["source"].endswith("/trtllm_engine/checkpoint") for one in spec["mounts"])
    assert spec["image"] == "nvcr.io/nvidia/tensorrt-llm/release:1.2.1"
    (written,) = [one for one in plan.json["steps"] if one["type"] == "Write"]
    assert json.loads(written["text"])["max_batch_size"] == 8


def test_a_bundle_is_not_for_another_gpu(run: Run, tmp_path: Path) -> None:
    reference = bundle(tmp_path / "made", quantised=True)
    for command in ("build-engine", "serve"):
        result = run(command, reference, "--gpu", "l40s", "--dry-run")
        assert result.code == 7, result
        words(result, "its compute capability is 9.0, needed is 8.9")


def test_options_alone_are_served_with_their_model(run: Run, tmp_path: Path) -> None:
    reference = bundle(tmp_path / "made", quantised=False)
    result = run("serve", reference, "--gpu", "h100_sxm", "--dry-run")
    assert result.code == 2, result
    words(result, "has options for the model hf://acme/tiny, and not the model")
    words(result, f"nimctl engines import '{reference}' && nimctl serve 'hf://acme/tiny'")
    adopted = run("build-engine", reference, "--gpu", "h100_sxm", "--dry-run")
    assert "has a bundle for PyTorch for h100_sxm, bf16 tp1" in adopted.out
