"""`nimctl pull`: the packaged model, directories, files, web and hub."""

import hashlib
import http.server
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from conftest import Run, steps, words
from fileserver import FileServer, Served

import nimctl
from nimctl.core.layout import Layout

DEMO = Path(nimctl.__file__).parent / "models" / "capitals-demo"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    for path in DEMO.iterdir():
        (directory / path.name).write_bytes(path.read_bytes())
    return directory


@pytest.fixture
def website(checkpoint: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(checkpoint))
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_packaged_model_goes_through_the_same_store(run: Run, layout: Layout) -> None:
    result = run("pull", "capitals-demo", "--json")
    assert result.code == 0, result
    report = result.json
    assert report["reference"] == "package://capitals-demo"
    assert {one["name"] for one in report["files"]} == {path.name for path in DEMO.iterdir()}
    for one in report["files"]:
        blob = Path(one["path"])
        assert blob == layout.blob(one["sha256"])
        assert sha256(blob) == one["sha256"] == sha256(DEMO / one["name"])
        assert blob.stat().st_mode & 0o777 == 0o444
    total = sum(path.stat().st_size for path in DEMO.iterdir())
    assert (report["bytes_fetched"], report["bytes_reused"]) == (total, 0)


def test_a_second_pull_fetches_nothing(run: Run) -> None:
    run("pull", "capitals-demo")
    report = run("pull", "capitals-demo", "--json").json
    assert report["bytes_fetched"] == 0
    assert report["bytes_reused"] > 2_000_000


def test_a_directory_is_pulled_and_equal_files_are_stored_once(
    run: Run, checkpoint: Path, layout: Layout
) -> None:
    run("pull", "capitals-demo")
    blobs = set((layout.root / "blobs" / "sha256").rglob("*"))
    assert run("pull", f"file://{checkpoint}").code == 0
    assert set((layout.root / "blobs" / "sha256").rglob("*")) == blobs


def test_a_changed_local_file_does_not_stay_stale(run: Run, checkpoint: Path) -> None:
    run("pull", f"file://{checkpoint}")
    (checkpoint / "generation_config.json").write_text("{}")
    report = run("pull", f"file://{checkpoint}", "--json").json
    assert report["bytes_fetched"] == 2
    changed = next(one for one in report["files"] if one["name"] == "generation_config.json")
    assert changed["sha256"] == hashlib.sha256(b"{}").hexdigest()


def test_a_missing_path_is_not_found(run: Run, tmp_path: Path) -> None:
    result = run("pull", f"file://{tmp_path}/nowhere")
    assert result.code == 3
    words(result, "nowhere")


def test_an_unreadable_path_says_so(run: Run, tmp_path: Path) -> None:
    # A directory that is a file on the way: unreadable for root too.
    (tmp_path / "file").write_text("x")
    result = run("pull", f"file://{tmp_path}/file/model.gguf")
    assert result.code == 3
    words(result, "model.gguf")


def test_a_pinned_url_is_verified(run: Run, website: str, checkpoint: Path) -> None:
    good = sha256(checkpoint / "model.safetensors")
    result = run("pull", f"{website}/model.safetensors#sha256={good}", "--json")
    assert result.code == 0, result
    assert result.json["files"][0]["sha256"] == good


def test_a_url_with_another_digest_is_refused_and_nothing_is_kept(
    run: Run, website: str, layout: Layout
) -> None:
    result = run("pull", f"{website}/config.json#sha256={'0' * 64}")
    assert result.code == 6
    words(result, "config.json", "0" * 64)
    assert list((layout.root / "blobs").glob("sha256/*/*")) == []


def test_a_url_without_a_digest_is_pinned_by_what_came(run: Run, website: str) -> None:
    assert run("pull", f"{website}/config.json").code == 0
    offline = run("pull", f"{website}/config.json", "--offline", "--json")
    assert offline.code == 0, offline
    assert offline.json["bytes_fetched"] == 0


def test_a_url_that_does_not_exist_is_not_found(run: Run, website: str) -> None:
    result = run("pull", f"{website}/nothing.gguf")
    assert result.code == 3
    words(result, "nothing.gguf")


def test_a_server_that_is_not_there_is_a_network_error(run: Run) -> None:
    result = run("pull", "http://127.0.0.1:9/model.gguf")
    assert result.code == 5
    words(result, "127.0.0.1:9")


def test_the_dry_run_is_the_plan_and_moves_nothing(run: Run, layout: Layout) -> None:
    plan = run("pull", "capitals-demo", "--dry-run", "--json").json
    assert steps(plan) == ["Fetch"]
    assert len(plan["steps"][0]["missing"]) == len(list(DEMO.iterdir()))
    assert not layout.root.exists()


def test_a_dry_run_says_when_a_size_is_unknown(run: Run) -> None:
    with FileServer() as server:
        url = server.put("m.gguf", Served(b"GGUF" * 100, framing="chunked", ranges="ignored"))
        result = run("pull", url, "--dry-run")
    assert result.code == 0, result
    assert "# 0 bytes and 1 file of unknown size to fetch, " in result.out
    assert f"# fetch 1 file, at least 0 B: {url}" in result.out


def test_progress_is_one_json_object_a_line_on_request(run: Run) -> None:
    result = run("pull", "capitals-demo", "--progress", "json")
    events = [json.loads(line) for line in result.err.splitlines()]
    tasks = {event["task"] for event in events if event["type"] == "Finished"}
    assert tasks == {"fetch", *(path.name for path in DEMO.iterdir())}


def test_quiet_prints_data_only(run: Run) -> None:
    assert run("pull", "capitals-demo", "--quiet").err == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_full_disk_is_refused_before_the_first_byte(run: Run, small_disk: Path) -> None:
    result = run("pull", "capitals-demo", env={"NIMCTL_HOME": str(small_disk / "home")})
    assert result.code == 12
    words(result, " needs ", "MiB, and 2.0 MiB are free", "64.0 MiB are left free", "NIMCTL_HOME")
    assert not (small_disk / "home").exists()


def test_a_home_that_is_a_file_or_read_only_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("pull", "capitals-demo", env={"NIMCTL_HOME": str(tmp_path / "file")})
    assert result.code == 2
    words(result, "a file lies where a directory belongs", str(tmp_path / "file"))
    home = tmp_path / "home-on-a-disk"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=1g", "tmpfs", str(home)]
    subprocess.run(mount, check=True)
    try:
        result = run("pull", "capitals-demo", env={"NIMCTL_HOME": str(home)})
    finally:
        subprocess.run(["umount", "--lazy", str(home)], check=True)
    assert result.code == 2
    words(result, "nothing can be written", "read-only", "NIMCTL_HOME")
