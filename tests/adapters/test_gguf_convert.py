"""The act of converting: progress, interruption, a full disk, and the command."""

import subprocess
import sys
from pathlib import Path

import gguf
import pytest
from gguf_fixtures import DATA

from nimctl.core.checkpoint import CONVERTIBLE
from nimctl.engines.gguf.__main__ import main
from nimctl.engines.gguf.architecture import FAMILIES
from nimctl.engines.gguf.convert import convert

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
from nimctl.engines.gguf.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
PREFLIGHT = """
import sys
from pathlib import Path
from nimctl.engines.gguf.conversion import check
check(Path(sys.argv[1]))
print(sorted({"numpy", "gguf", "torch"} & set(sys.modules)))
"""


def argv(output: Path, checkpoint: Path = DATA / "llama") -> list[str]:
    return ["--checkpoint", str(checkpoint), "--precision", "f16", "--output", str(output)]


def test_every_model_class_that_is_promised_is_known() -> None:
    assert set(FAMILIES) == set(CONVERTIBLE)


def test_progress_counts_the_bytes_of_all_weights(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    output = tmp_path / "model.gguf"
    convert(DATA / "llama3", output, precision="f16", progress=lambda *step: told.append(step))
    weights = sum(int(tensor.n_bytes) for tensor in gguf.GGUFReader(output).tensors)
    done = [step[0] for step in told]
    assert {total for _, total in told} == {weights}
    assert done[0] == 0
    assert done[-1] == weights
    assert done == sorted(done)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_an_interrupted_conversion_leaves_no_file(
    failure: type[BaseException], tmp_path: Path
) -> None:
    output = tmp_path / "model.gguf"

    def interrupt(done: int, total: int) -> None:
        assert output.exists()
        if done > total / 2:
            raise failure

    with pytest.raises(failure):
        convert(DATA / "llama", output, precision="f16", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_reported_and_leaves_no_file(tmp_path: Path) -> None:
    output = tmp_path / "model.gguf"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *argv(output)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 12, done
    assert f"error: {output} cannot be written whole" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_command_converts_and_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "model.gguf"
    assert main(argv(output)) == 0
    assert output.read_bytes()[:4] == b"GGUF"
    assert capsys.readouterr() == ("", "")


def test_the_command_explains_a_refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "model.gguf"
    assert main(argv(output, checkpoint=tmp_path)) == 6
    error = capsys.readouterr().err.splitlines()
    assert error[0] == f"error: {tmp_path / 'config.json'} is missing"
    assert error[-1].startswith("hint: ")
    assert not output.exists()


def test_the_preflight_needs_neither_numpy_nor_gguf() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PREFLIGHT, str(DATA / "llama3")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
