"""The shipped catalogue: checked as `make check` does, and against what model cards say."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nimctl.catalog import Catalog, packaged_directory

ROOT = Path(__file__).parent.parent
MODELS = {model.name: model for model in Catalog(packaged_directory()).all()}


def check(directory: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "catalogue_check.py", directory],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_every_fact_of_the_shipped_catalogue_has_a_source_and_every_sum_is_right() -> None:
    assert check(packaged_directory()) == (0, "")


@pytest.mark.parametrize(
    ("name", "old", "new", "complaint"),
    [
        ("qwen3-8b", "layers: 36", "layers: 35", "its architecture adds up to 7,99"),
        ("qwen3-30b-a3b", "experts_per_token: 8", "experts_per_token: 4", "active parameters, its"),
        ("qwen3-8b", "\\nsource: .*", "", "qwen3-8b: it has no source"),
        ("qwen3-8b", "\\n  source: .*", "", "its architecture has no source"),
        ("qwen3-8b", "\\n    evidence: .*", "", "nothing names the source of llama_cpp-q8_0"),
        ("qwen3-8b", "\\n    evidence: .*", "", "nothing is named that tells of vllm in bf16"),
        ("qwen3-8b", "  parameters_from: .*\\n", "", "where the number of parameters is from"),
        ("genmol", "(?s)\\nnim:.*", "\\n", "there is no way to run it"),
        ("qwen3-8b", "heads: 32", "heads: many", "expected `int`"),
    ],
)
def test_what_has_no_source_or_does_not_add_up_is_told(
    name: str, old: str, new: str, complaint: str, tmp_path: Path
) -> None:
    directory = tmp_path / "profiles"
    shutil.copytree(packaged_directory(), directory)
    path = directory / f"{name}.yaml"
    text = path.read_text()
    path.write_text(re.sub(old, new.replace("\\n", "\n"), text))
    assert path.read_text() != text
    code, said = check(directory)
    assert code == 1
    assert complaint in said


# What the model cards say, in billions: total, and active where it is a mixture of experts.
@pytest.mark.parametrize(
    ("name", "total", "active"),
    [
        ("qwen2.5-0.5b-instruct", 0.49, None),
        ("qwen2.5-7b-instruct", 7.61, None),
        ("qwen2.5-32b-instruct", 32.5, None),
        ("qwen3-8b", 8.2, None),
        ("qwen3-32b", 32.8, None),
        ("qwen3-30b-a3b", 30.5, 3.3),
        ("mixtral-8x7b-instruct-v0.1", 46.7, 12.9),
        ("gpt-oss-20b", 21, None),
        ("gpt-oss-120b", 117, None),
        ("llama-3.2-1b-instruct", 1.23, None),
        ("llama-3.2-3b-instruct", 3.21, None),
        ("llama-3.3-nemotron-super-49b-v1", 49, None),
        ("phi-3-mini-4k-instruct", 3.8, None),
        ("phi-4", 14, None),
    ],
)
def test_sizes_are_those_of_the_model_cards(name: str, total: float, active: float | None) -> None:
    architecture = MODELS[name].architecture
    assert architecture is not None
    assert architecture.parameters / 1e9 == pytest.approx(total, rel=0.05)
    if active is not None:
        assert architecture.active_parameters is not None
        assert architecture.active_parameters / 1e9 == pytest.approx(active, rel=0.05)


def test_every_llm_has_ways_to_run_on_gpus_and_without() -> None:
    for model in MODELS.values():
        if model.family != "llm" or model.name in ("capitals-demo", "llama-2-7b"):
            continue
        backends = {variant.backend for variant in model.variants}
        assert {"tensorrt_llm", "vllm", "sglang"} <= backends, model.name
        assert any(profile.backend == "llama_cpp" for profile in model.profiles), model.name


def test_the_demo_model_keeps_to_the_cpu() -> None:
    demo = MODELS["capitals-demo"]
    assert [profile.name for profile in demo.profiles] == [
        "llama_cpp-f16-tp1-pp1",
        "llama_cpp-q8_0-tp1-pp1",
    ]
    assert demo.variants == ()
    assert demo.nim is None
