"""`pull` of an archive: what it holds is in the store, the archive is not."""

import io
import json
import socket
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from conftest import Run, steps, words
from fileserver import FileServer, Served

import nimctl
from nimctl.core.layout import Layout

DEMO = Path(nimctl.__file__).parent / "models" / "capitals-demo"


@pytest.fixture
def files() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


def tar_of_demo(mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for path in sorted(DEMO.iterdir()):
            archive.add(path, path.name)
    return buffer.getvalue()


def contents(report: dict[str, list[dict[str, str]]]) -> dict[str, bytes]:
    return {one["name"]: Path(one["path"]).read_bytes() for one in report["files"]}


DEMO_FILES = {path.name: path.read_bytes() for path in DEMO.iterdir()}


@pytest.mark.parametrize(("name", "mode"), [("m.tar.gz", "w:gz"), ("m.tar", "w")])
def test_a_tarball_is_unpacked_and_not_kept(
    run: Run, files: FileServer, layout: Layout, name: str, mode: str
) -> None:
    url = files.put(name, Served(tar_of_demo(mode)))
    plan = run("pull", url, "--dry-run", "--json").json
    assert steps(plan) == ["Fetch"]
    assert plan["steps"][0]["unpack"] == [name]
    result = run("pull", url, "--json")
    assert result.code == 0, result
    assert contents(result.json) == DEMO_FILES
    blobs = [path for path in (layout.root / "blobs" / "sha256").rglob("*") if path.is_file()]
    assert len(blobs) == len(DEMO_FILES)
    assert list((layout.root / "blobs" / "partial").iterdir()) == []


def test_the_script_of_a_dry_run_takes_no_name_for_an_option(run: Run, tmp_path: Path) -> None:
    (tmp_path / "-rf.tar").write_bytes(tar_of_demo("w"))
    dry = run("pull", (tmp_path / "-rf.tar").as_uri(), "--dry-run")
    there = tmp_path / "there"
    there.mkdir()
    subprocess.run(["sh"], input=dry.out.encode(), cwd=there, check=True)
    assert {path.name for path in there.iterdir()} == set(DEMO_FILES)


def test_a_second_pull_fetches_nothing(run: Run, files: FileServer) -> None:
    url = files.put("m.tar.gz", Served(tar_of_demo()))
    run("pull", url)
    files.body_bytes = 0
    again = run("pull", url, "--json").json
    assert again["bytes_fetched"] == 0
    assert contents(again) == DEMO_FILES
    assert files.body_bytes <= 1  # a probe for the size
    assert contents(run("pull", url, "--offline", "--json").json) == DEMO_FILES


def test_a_changed_tarball_is_unpacked_again(run: Run, files: FileServer) -> None:
    url = files.put("m.tar.gz", Served(tar_of_demo(), etag='"1"'))
    run("pull", url)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(DEMO / "config.json", "config.json")
    files.put("m.tar.gz", Served(buffer.getvalue(), etag='"2"'))
    assert list(contents(run("pull", url, "--json").json)) == ["config.json"]


@pytest.mark.parametrize("is_local", [True, False])
def test_a_tarball_is_served_as_it_is(
    run: Run, files: FileServer, tmp_path: Path, *, is_local: bool
) -> None:
    url = files.put("m.tar.gz", Served(tar_of_demo()))
    if is_local:
        (tmp_path / "m.tar.gz").write_bytes(tar_of_demo())
        url = (tmp_path / "m.tar.gz").as_uri()
    plan = run("serve", url, "-p", "auto", "--dry-run", "--json").json
    assert (steps(plan), plan["again"]) == (["Fetch"], True)
    assert "# m.tar.gz is unpacked first; how" in run("serve", url, "-p", "auto", "--dry-run").out

    result = run("serve", url, "-d", "-p", "auto", "--json")
    assert result.code == 0, result
    words(result, "m.tar.gz is unpacked first")
    with openai.OpenAI(base_url=f"{result.json['server']['url']}/v1", api_key="none") as client:
        answer = client.completions.create(
            model="m.tar.gz", prompt="The capital of France is called", max_tokens=8, temperature=0
        )
    assert "Paris" in answer.choices[0].text

    again = run("serve", url, "-n", "again", "-p", "auto", "--dry-run", "--json").json
    assert (steps(again)[0], again["again"]) == ("Assemble", False)


def test_an_engine_is_built_of_a_tarball_that_was_never_pulled(run: Run, files: FileServer) -> None:
    url = files.put("m.tar.gz", Served(tar_of_demo()))
    report = run("build-engine", url, "--json")
    assert report.code == 0, report
    assert report.json["built"] is True


def test_empty_directories_of_an_archive_lie_in_the_model_store(
    run: Run, files: FileServer, layout: Layout
) -> None:
    # As a Triton ensemble has one for its version, which holds no file.
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path in sorted(DEMO.iterdir()):
            archive.add(path, path.name)
        for name in ("ensemble", "ensemble/1"):
            made = tarfile.TarInfo(name)
            made.type = tarfile.DIRTYPE
            archive.addfile(made)
    url = files.put("m.tar.gz", Served(buffer.getvalue()))
    assert run("build-engine", url).code == 0
    (made_there,) = layout.root.glob("model-store/**/ensemble/1")
    assert made_there.is_dir()
    assert not list(made_there.iterdir())
    made_there.rmdir()
    again = run("build-engine", url, "--dry-run")
    assert f"mkdir -p {made_there}\n" in again.out
    assert run("build-engine", url).code == 0
    assert made_there.is_dir()


def test_the_profiles_of_a_tarball_are_those_of_what_it_holds(run: Run, files: FileServer) -> None:
    url = files.put("m.tar.gz", Served(tar_of_demo()))
    report = run("list-profiles", url, "--json")
    assert report.code == 0, report
    tags = [profile["tags"] for profile in report.json["profiles"]]
    built = {one["precision"] for one in tags if one["backend"] == "llama_cpp"}
    assert built == {"f16", "q8_0"}
    words(report, "m.tar.gz is unpacked first")


def test_what_can_be_refused_is_refused_before_an_archive_comes(
    run: Run, files: FileServer
) -> None:
    url = files.put("m.tar.gz", Served(tar_of_demo()))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words(run("serve", url, "-p", port), "is in use")
    words(run("serve", url, "-p", "auto", "-n", "a/b"), "is no name")
    assert run("serve", url, "-p", "auto", "--offline").code == 5
    assert files.body_bytes <= 3  # probes for the size


def test_an_archive_without_a_model_is_refused_with_what_it_holds(
    run: Run, files: FileServer
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(DEMO / "config.json", "notes.json")
    result = run("serve", files.put("m.tar", Served(buffer.getvalue())), "-p", "auto")
    assert result.code == 7
    words(result, "notes.json")


def test_a_local_zip_is_unpacked(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.json", "{}")
        archive.writestr("inner.zip", b"PK\x05\x06" + b"\0" * 18)
    report = run("pull", f"file://{path}", "--json").json
    assert set(contents(report)) == {"a/b.json", "inner.zip"}
    assert run("pull", f"file://{path}", "--json").json["bytes_fetched"] == 0


def hostile(member: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        good = tarfile.TarInfo("good.txt")
        good.size = 4
        archive.addfile(good, io.BytesIO(b"good"))
        archive.addfile(member, io.BytesIO(b"x" * member.size))
    return buffer.getvalue()


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("../escape"),
        tarfile.TarInfo("/etc/escape"),
        link("link", "/etc/passwd", tarfile.SYMTYPE),
        link("hard", "good.txt", tarfile.LNKTYPE),
        link("null", "", tarfile.CHRTYPE),
    ],
    ids=["parent", "absolute", "symlink", "hard link", "device"],
)
def test_a_hostile_member_is_refused_and_nothing_of_the_archive_stays(
    run: Run, files: FileServer, layout: Layout, member: tarfile.TarInfo
) -> None:
    url = files.put("m.tar.gz", Served(hostile(member)))
    result = run("pull", url)
    assert result.code == 6
    words(result, "m.tar.gz: the ")
    good = [path for path in (layout.root / "blobs").rglob("*") if path.is_file()]
    assert all(path.read_bytes() != b"good" for path in good)
    assert run("pull", url, "--offline").code in (5, 6)


def test_a_damaged_member_is_mended_from_its_archive(run: Run, files: FileServer) -> None:
    url = files.put("m.tar.gz", Served(tar_of_demo()))
    report = run("pull", url, "--json").json
    damaged = Path(next(one["path"] for one in report["files"] if one["name"] == "tokenizer.json"))
    damaged.unlink()
    assert run("verify", url).code == 6
    assert run("verify", url, "--repair").code == 0
    assert damaged.read_bytes() == DEMO_FILES["tokenizer.json"]


@pytest.mark.parametrize("name", ["m.tar.gz", "m.bin"])
def test_of_two_processes_one_fetches_and_the_other_waits_though_no_digest_is_known(
    environ: dict[str, str], files: FileServer, name: str
) -> None:
    data = tar_of_demo()
    expected = DEMO_FILES if name == "m.tar.gz" else {name: data}
    url = files.put(name, Served(data, bytes_per_s=len(data)))
    argv = [sys.executable, "-m", "nimctl", "pull", url, "--json"]
    started = [
        subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    reports = [json.loads(child.communicate(timeout=60)[0]) for child in started]
    assert sorted(report["bytes_fetched"] for report in reports) == [0, len(data)]
    assert [contents(report) for report in reports] == [expected, expected]
    assert files.body_bytes <= len(data) + 2  # each probes for the size


def test_progress_names_the_unpacking(run: Run, files: FileServer) -> None:
    url = files.put("m.tar.gz", Served(tar_of_demo()))
    events = [json.loads(line) for line in run("pull", url, "--progress", "json").err.splitlines()]
    notes = {event["task"]: event["note"] for event in events if event["type"] == "Finished"}
    assert notes["m.tar.gz"] == f"unpacked, {len(DEMO_FILES)} files"
