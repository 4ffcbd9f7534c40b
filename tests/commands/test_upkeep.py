"""`verify`, `prune`, and the lock file."""

import json
import os
import random
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Run, words
from fileserver import Fault, FileServer, Ranges, Served

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


RANGE_BYTES = 64 * 1024
WEIGHTS = random.Random(4).randbytes(20 * RANGE_BYTES + 100)


@pytest.fixture
def files() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


def pull_in_ranges(run: Run, files: FileServer, served: Served | None = None) -> tuple[str, Path]:
    """Pull a file of many ranges; its reference, and its blob."""
    url = files.put("m.gguf", served or Served(WEIGHTS))
    pulled = run("pull", url, "--range-size", "64K", "--json")
    assert pulled.code == 0, pulled
    files.body_bytes = 0
    return url, Path(pulled.json["files"][0]["path"])


@pytest.mark.parametrize("is_linked", [False, True])
def test_of_a_file_that_came_in_ranges_only_the_damaged_ones_are_named_and_fetched(
    run: Run, files: FileServer, layout: Layout, tmp_path: Path, *, is_linked: bool
) -> None:
    url, blob = pull_in_ranges(run, files)
    if is_linked:  # as in a model's directory
        (tmp_path / "linked").hardlink_to(blob)
    flip_a_byte(blob, at=10)
    flip_a_byte(blob, at=3 * RANGE_BYTES)
    damaged = [[0, RANGE_BYTES], [3 * RANGE_BYTES, 4 * RANGE_BYTES]]

    [found] = run("verify", url, "--json").json["damaged"]
    assert [list(one.values()) for one in found["ranges"]] == damaged
    assert files.body_bytes == 0
    fixed = run("verify", url, "--repair")
    assert fixed.code == 0, fixed
    assert "bytes 196,608 to 262,144" in fixed.out

    assert blob.read_bytes() == WEIGHTS
    assert blob.stat().st_mode & 0o777 == 0o444
    assert files.body_bytes == 2 * RANGE_BYTES
    assert list((layout.root / "blobs" / "partial").iterdir()) == []
    if is_linked:
        assert (tmp_path / "linked").read_bytes() != WEIGHTS  # whoever has it open sees no change
    # It can be done again: the checksums of all ranges are known as before.
    flip_a_byte(blob, at=5 * RANGE_BYTES)
    assert run("verify", "--repair").code == 0
    assert files.body_bytes == 3 * RANGE_BYTES
    assert blob.read_bytes() == WEIGHTS


@pytest.mark.parametrize("length", [5 * RANGE_BYTES + 10, len(WEIGHTS) + 10])
def test_a_file_of_another_length_is_completed_or_cut(
    run: Run, files: FileServer, length: int
) -> None:
    url, blob = pull_in_ranges(run, files)
    blob.chmod(0o644)
    os.truncate(blob, length)
    assert run("verify", url, "--repair").code == 0
    assert blob.read_bytes() == WEIGHTS
    assert files.body_bytes == max(0, len(WEIGHTS) - 5 * RANGE_BYTES) * (length < len(WEIGHTS))


@pytest.mark.parametrize("ranges", ["ignored", "wrong", "unsatisfiable"])
def test_a_server_that_does_no_ranges_any_more_sends_the_whole_file(
    run: Run, files: FileServer, ranges: Ranges
) -> None:
    url, blob = pull_in_ranges(run, files)
    files.put("m.gguf", Served(WEIGHTS, ranges=ranges))
    flip_a_byte(blob)
    assert run("verify", url, "--repair").code == 0
    assert blob.read_bytes() == WEIGHTS
    assert files.body_bytes >= len(WEIGHTS)


def test_without_checksums_of_its_ranges_a_file_is_fetched_whole(
    run: Run, files: FileServer, layout: Layout
) -> None:
    url, blob = pull_in_ranges(run, files)
    layout.checksums(blob.name).unlink()
    flip_a_byte(blob)
    [found] = run("verify", url, "--json").json["damaged"]
    assert found["ranges"] == []
    assert run("verify", url, "--repair").code == 0
    assert (blob.read_bytes(), files.body_bytes) == (WEIGHTS, len(WEIGHTS))


def test_damage_that_the_checksums_do_not_show_is_mended_all_the_same(
    run: Run, files: FileServer, layout: Layout
) -> None:
    url, blob = pull_in_ranges(run, files)
    flip_a_byte(blob)
    damaged = blob.read_bytes()
    checksums = layout.checksums(blob.name)
    state = json.loads(checksums.read_text())
    for piece in state["pieces"]:
        piece[2] = zlib.crc32(damaged[piece[0] : piece[1]])
    checksums.write_text(json.dumps(state))
    assert run("verify", url, "--repair").code == 0
    assert blob.read_bytes() == WEIGHTS


def test_a_repair_that_fails_loses_nothing_and_is_completed_by_a_pull(
    run: Run, files: FileServer
) -> None:
    url, blob = pull_in_ranges(run, files)
    flip_a_byte(blob)
    files.put("m.gguf", Served(WEIGHTS, faults=[Fault("status", status=404)]))
    assert run("verify", url, "--repair").code == 3
    assert not blob.exists()
    files.put("m.gguf", Served(WEIGHTS))
    files.body_bytes = 0
    assert run("pull", url).code == 0
    assert blob.read_bytes() == WEIGHTS
    assert files.body_bytes <= RANGE_BYTES + 1  # and a probe for the size


def test_checksums_go_with_their_file(run: Run, files: FileServer, layout: Layout) -> None:
    url, blob = pull_in_ranges(run, files)
    assert layout.checksums(blob.name).exists()
    run("rm", url)
    assert not layout.checksums(blob.name).exists()


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
    words(result, "what came is not what nimctl.lock holds", "a.gguf is not what was locked")
    words(result, "--lock instead of --locked")


def test_a_signature_never_gets_into_a_lock_file(run: Run, tmp_path: Path) -> None:
    lock = tmp_path / "nimctl.lock"
    url = "https://host.invalid/m.gguf?X-Amz-Signature=secret"
    result = run("pull", url, "--lock", "--lock-file", lock)
    assert result.code == 2
    words(result, "is a signed URL", "#sha256=HEX")
    assert "secret" not in result.err
    assert not lock.exists()


def test_a_lock_file_keeps_the_other_models(run: Run, tmp_path: Path) -> None:
    lock = tmp_path / "my.lock"
    run("pull", "capitals-demo", "--lock", "--lock-file", lock)
    (tmp_path / "b.gguf").write_bytes(b"b")
    run("pull", f"file://{tmp_path}/b.gguf", "--lock", "--lock-file", lock)
    references = [one["reference"] for one in json.loads(lock.read_text())["artifacts"]]
    assert references == [f"file://{tmp_path}/b.gguf", "package://capitals-demo"]


@pytest.mark.parametrize("rate", ["0", "fast", "-1"])
def test_a_rate_that_is_none_is_refused(run: Run, rate: str) -> None:
    result = run("pull", "capitals-demo", "--max-rate", rate)
    assert result.code == 2
    words(result, "500K or 20M a second")


def test_globs_need_a_reference_that_has_them(run: Run) -> None:
    result = run("pull", "capitals-demo", "--include", "*.json")
    assert result.code == 2
    words(result, "--include and --exclude")
