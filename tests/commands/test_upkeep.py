"""`verify`, `prune`, and the lock file."""

import json
from pathlib import Path

import pytest
from conftest import Run, words

import nimctl
from nimctl.core.layout import Layout

DEMO = Path(nimctl.__file__).parent / "models" / "capitals-demo"


def flip_a_byte(path: Path, at: int = 1000) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def blob_of(run: Run, name: str) -> Path:
    report = run("pull", "capitals-demo", "--json").json
    return Path(next(one["path"] for one in report["files"] if one["name"] == name))


def test_a_sound_store_is_said_to_be_sound(run: Run) -> None:
    run("build-engine", "capitals-demo")
    report = run("verify", "--json")
    assert report.code == 0
    assert report.json["damaged"] == []
    assert report.json["files_checked"] == len(list(DEMO.iterdir())) + 1
    assert run("verify", "capitals-demo").code == 0


def test_damage_is_named_and_repaired_by_fetching_only_that(run: Run) -> None:
    weights = blob_of(run, "model.safetensors")
    tokenizer = blob_of(run, "tokenizer.json")
    flip_a_byte(weights)
    tokenizer.unlink()
    result = run("verify", "--json")
    assert result.code == 6
    damaged = {one["path"]: one["state"] for one in result.json["damaged"]}
    assert damaged == {"model.safetensors": "damaged", "tokenizer.json": "missing"}
    fixed = run("verify", "--repair", "--progress", "json")
    assert fixed.code == 0, fixed
    events = [json.loads(line) for line in fixed.err.splitlines()]
    fetched = {one["task"] for one in events if one.get("parent") == "fetch"}
    reused = {one["task"] for one in events if one.get("note") == "reused"}
    assert fetched - reused == {"model.safetensors", "tokenizer.json"}
    assert run("verify").code == 0
    assert weights.read_bytes() == (DEMO / "model.safetensors").read_bytes()


def test_a_damaged_engine_goes_and_is_built_again(run: Run) -> None:
    built = run("build-engine", "capitals-demo", "--json").json
    flip_a_byte(Path(built["directory"]) / "model.gguf")
    result = run("verify", "capitals-demo")
    assert result.code == 6
    words(result, "1 of", "nimctl verify --repair")
    assert "damaged: model.gguf (engine" in result.out
    assert run("verify", "--repair").code == 0
    again = run("build-engine", "capitals-demo", "--json").json
    assert again["built"] is True
    assert again["engine"]["files"] == built["engine"]["files"]


def test_a_repaired_file_reaches_the_model_store(run: Run, layout: Layout) -> None:
    run("build-engine", "capitals-demo", "--precision", "f16")
    flip_a_byte(blob_of(run, "model.safetensors"))
    run("verify", "--repair")
    run("build-engine", "capitals-demo", "--precision", "f16")
    linked = layout.model("capitals-demo", "llama_cpp-f16-tp1-pp1") / "model.safetensors"
    assert linked.read_bytes() == (DEMO / "model.safetensors").read_bytes()


def test_verify_of_what_is_not_there_is_not_found(run: Run) -> None:
    assert run("verify", "capitals-demo").code == 3


def test_prune_removes_only_what_no_model_needs(run: Run, layout: Layout) -> None:
    run("pull", "capitals-demo")
    stray = layout.blob("0" * 64)
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"x" * 100)
    unfinished = layout.partial("abc.part")
    unfinished.write_bytes(b"x" * 5000)
    layout.partial("abc.state").write_bytes(b"x")
    counted = run("prune", "--dry-run", "--json").json
    assert (counted["blobs"], counted["bytes_freed"]) == (["0" * 64], 100)
    assert stray.exists()
    assert run("prune", "--json").json == counted
    assert not stray.exists()
    assert unfinished.exists()
    assert run("prune", "--unfinished", "--json").json["unfinished"] == ["abc"]
    assert not unfinished.exists()
    assert run("verify").code == 0


def test_a_lock_file_holds_what_came(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "model"
    model.mkdir()
    (model / "a.gguf").write_bytes(b"one")
    ref = f"file://{model}"
    assert run("pull", ref, "--locked").code == 3
    assert run("pull", ref, "--lock").code == 0
    lock = json.loads((tmp_path / "nimctl.lock").read_text())
    assert [one["reference"] for one in lock["artifacts"]] == [ref]
    assert len(lock["artifacts"][0]["files"][0]["digests"]["sha256"]) == 64
    assert run("pull", ref, "--locked").code == 0
    assert run("pull", "capitals-demo", "--locked").code == 3

    run("rm", ref)
    (model / "a.gguf").write_bytes(b"two")
    result = run("pull", ref, "--locked")
    assert result.code == 6
    words(result, "a.gguf")


def test_a_lock_file_keeps_the_other_models(run: Run, tmp_path: Path) -> None:
    lock = tmp_path / "my.lock"
    run("pull", "capitals-demo", "--lock", "--lock-file", lock)
    (tmp_path / "b.gguf").write_bytes(b"b")
    run("pull", f"file://{tmp_path}/b.gguf", "--lock", "--lock-file", lock)
    references = [one["reference"] for one in json.loads(lock.read_text())["artifacts"]]
    assert references == [f"file://{tmp_path}/b.gguf", "package://capitals-demo"]


@pytest.mark.parametrize("rate", ["0", "fast", "-1", "1T"])
def test_a_rate_that_is_none_is_refused(run: Run, rate: str) -> None:
    result = run("pull", "capitals-demo", "--max-rate", rate)
    assert result.code == 2
    words(result, "500K or 20M a second")


def test_globs_need_a_reference_that_has_them(run: Run) -> None:
    result = run("pull", "capitals-demo", "--include", "*.json")
    assert result.code == 2
    words(result, "--include and --exclude")
