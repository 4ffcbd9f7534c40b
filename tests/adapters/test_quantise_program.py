"""The program that quantises in the container, as far as it runs without one.

With ModelOpt it is run by tests/gpu/test_quantise.py.
"""

import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from trtllm_subjects import CALIBRATION, SHOP, subject

from nimctl import engines
from nimctl.core.fit.precision import _CHECKPOINTS
from nimctl.core.trtllm.design import design
from nimctl.core.trtllm.quantise import PROGRAM
from nimctl.core.trtllm.subject import BuildOptions

PATH = Path(engines.__file__).parent / "trtllm" / "programs" / PROGRAM


@pytest.fixture(scope="module")
def program() -> dict[str, Any]:
    return runpy.run_path(str(PATH), run_name="program")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"text": "one"}\n\n{"text": "two", "more": 1}\n'),
        ("a.json", '[{"text": "one"}, {"text": "two"}]'),
        ("a.csv", 'text,label\n"one",0\n"two",1\n'),
        ("a.txt", "one\n\n  two  \n"),
    ],
)
def test_texts_are_read_from_every_kind_of_file(
    program: dict[str, Any], tmp_path: Path, name: str, content: str
) -> None:
    file = tmp_path / name
    file.write_text(content)
    read: Callable[[Path], Iterator[str]] = program["read_texts"]
    assert list(read(file)) == ["one", "two"]


@pytest.mark.parametrize("precision", ["fp8", "nvfp4", "int4_awq", "w4a8_awq"])
def test_the_program_takes_what_it_is_started_with(program: dict[str, Any], precision: str) -> None:
    assert precision in _CHECKPOINTS
    gpu = "b200" if precision == "nvfp4" else "h100_sxm"
    options = BuildOptions(strategy="pytorch", calibration=CALIBRATION)
    (command,) = design(subject(precision, gpu=gpu), options, SHOP).job.commands
    assert command.argv[:2] == ("python3", f"/nimctl/{PROGRAM}")
    parsed = program["parser"]().parse_args(command.argv[2:])
    assert parsed.format == precision
    assert str(parsed.calibration) == "/calibration/train.jsonl"
    assert str(parsed.output) == "/engine/checkpoint"


def test_a_file_without_texts_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    argv: list[str | Path] = [
        "--checkpoint",
        "x",
        "--calibration",
        empty,
        "--format",
        "fp8",
        "--output",
        tmp_path,
    ]
    done = subprocess.run(
        [sys.executable, PATH, *argv], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == f"error: {empty} has no texts\n"


def test_the_program_imports_nothing_of_nimctl() -> None:
    assert "import nimctl" not in PATH.read_text()
    assert "from nimctl" not in PATH.read_text()
