"""`pull` looks into weight files before anything loads them."""

import json
import os
import pickle
from pathlib import Path

from conftest import Run, words


class Attack:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


def test_a_pickle_that_runs_code_is_named_loudly(run: Run, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "pytorch_model.bin").write_bytes(pickle.dumps(Attack(), protocol=4))
    result = run("pull", f"file://{tmp_path}/m", "--json")
    assert result.code == 0
    assert [one["severity"] for one in result.json["findings"]] == ["danger"]
    words(result, "WARNING: pytorch_model.bin", "system")


def test_a_harmless_pickle_is_noted(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps({"a": [1.0]}, protocol=4))
    result = run("pull", f"file://{path}", "--json")
    assert [one["severity"] for one in result.json["findings"]] == ["note"]


def test_safetensors_with_a_malformed_header_are_refused_and_not_pinned(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    header = json.dumps({"a": {"dtype": "F16", "shape": [4], "data_offsets": [0, 999]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    result = run("pull", f"file://{path}")
    assert result.code == 6
    words(result, "model.safetensors")
    assert run("list", "--json").json["models"] == []
    assert len(run("prune", "--json").json["blobs"]) == 1


def test_sound_weights_have_no_findings(run: Run) -> None:
    assert run("pull", "capitals-demo", "--json").json["findings"] == []
