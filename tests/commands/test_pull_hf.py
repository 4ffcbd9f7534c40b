"""`pull` of hf:// against the stand-in that the real `hf` accepts, and from that one's cache."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Result, Run, words
from fileserver import FileServer, Served
from hub import Hub

FILES = {"config.json": b"{}", "sub/model.gguf": b"GGUF" + bytes(5000)}
REFERENCE = "hf://acme/tiny"
WEIGHTS = "sub/model.gguf"
HF = Path(sys.executable).parent / "hf"


@pytest.fixture
def hub(environ: dict[str, str]) -> Iterator[Hub]:
    with Hub() as hub:
        tiny = hub.add("acme/tiny", FILES)
        tiny.tags["v1"] = tiny.branches["main"]
        hub.add("acme/gated", FILES, gated="manual")
        hub.add("acme/secret", FILES, private=True)
        hub.grants = {"hf_member": {"acme/gated", "acme/secret"}, "hf_stranger": set()}
        environ["HF_ENDPOINT"] = hub.endpoint
        yield hub


def hf_download(environ: dict[str, str], *argv: str) -> Path:
    """Fill the cache as people do; returns the repository's part of it."""
    more = {"HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [str(HF), "download", "acme/tiny", *argv]
    subprocess.run(command, env={**environ, **more}, check=True, capture_output=True)
    return Path(environ["HOME"]) / ".cache" / "huggingface" / "hub" / "models--acme--tiny"


def contents(result: Result) -> dict[str, bytes]:
    assert result.code == 0, result
    return {one["name"]: Path(one["path"]).read_bytes() for one in result.json["files"]}


def test_what_hf_has_cached_is_linked_and_not_downloaded(
    hub: Hub, run: Run, environ: dict[str, str]
) -> None:
    cache = hf_download(environ)
    hub.seen.clear()
    result = run("pull", REFERENCE, "--json")
    assert contents(result) == FILES
    assert (result.json["bytes_fetched"], hub.requests_to("cdn")) == (0, [])
    assert all("/resolve/" not in one.path for one in hub.seen)
    blobs = {path.stat().st_ino for path in (cache / "blobs").iterdir()}
    assert {Path(one["path"]).stat().st_ino for one in result.json["files"]} <= blobs


def test_a_damaged_file_of_the_cache_is_downloaded(
    hub: Hub, run: Run, environ: dict[str, str]
) -> None:
    cache = hf_download(environ)
    commit = hub.repositories["acme/tiny"].branches["main"]
    blob = (cache / "snapshots" / commit / WEIGHTS).resolve()
    blob.write_bytes(FILES[WEIGHTS][:-1] + b"x")
    assert contents(run("pull", REFERENCE, "--json")) == FILES


@pytest.mark.parametrize("how", ["HF_HUB_OFFLINE", "--offline"])
@pytest.mark.parametrize("reference", [REFERENCE, f"{REFERENCE}@v1"])
def test_without_a_network_the_cache_is_the_hub(
    hub: Hub, run: Run, environ: dict[str, str], how: str, reference: str
) -> None:
    hf_download(environ)
    hf_download(environ, "--revision", "v1")
    hub.seen.clear()
    if how == "--offline":
        result = run("pull", reference, "--offline", "--json")
    else:
        result = run("pull", reference, "--json", env={"HF_HUB_OFFLINE": "1"})
    assert contents(result) == FILES
    assert result.json["revision"] == hub.repositories["acme/tiny"].branches["main"]
    assert hub.seen == []


def test_without_a_network_what_the_cache_lacks_is_named(
    hub: Hub, run: Run, environ: dict[str, str], tmp_path: Path
) -> None:
    environ["HF_HUB_OFFLINE"] = "1"
    unknown = run("pull", REFERENCE)
    assert unknown.code == 5
    words(unknown, "not in the store", "HF_HUB_OFFLINE is set", ".cache/huggingface/hub")

    del environ["HF_HUB_OFFLINE"]
    cache = hf_download(environ, "--include", "config*")
    hub.seen.clear()
    environ["HF_HUB_OFFLINE"] = "1"
    lacking = run("pull", REFERENCE)
    assert lacking.code == 5
    words(lacking, WEIGHTS, "--exclude")
    part = run("pull", REFERENCE, "--include", "*.json", "--json")
    assert contents(part) == {"config.json": b"{}"}

    (next((cache / "snapshots").iterdir()) / "config.json").resolve().write_bytes(b"[]")
    elsewhere = {"NIMCTL_HOME": str(tmp_path / "other")}
    damaged = run("pull", f"{REFERENCE}?include=config.json", env=elsewhere)
    assert damaged.code == 6
    assert hub.seen == []


def test_a_cache_without_a_list_of_files_is_not_taken_for_complete(
    hub: Hub, run: Run, environ: dict[str, str]
) -> None:
    """As those of huggingface_hub 1 are, and those that `hf download REPO FILE` fills."""
    cache = hf_download(environ, "config.json")
    shutil.rmtree(cache / "trees", ignore_errors=True)
    hub.seen.clear()
    environ["HF_HUB_OFFLINE"] = "1"
    result = run("pull", REFERENCE)
    assert result.code == 5
    words(result, "there is config.json", "--include '*'")
    part = run("pull", REFERENCE, "--include", "*", "--json")
    assert contents(part) == {"config.json": b"{}"}
    assert hub.seen == []


def test_what_is_in_the_store_needs_no_hub_and_no_cache(
    hub: Hub, run: Run, environ: dict[str, str]
) -> None:
    assert run("pull", REFERENCE).code == 0
    hub.seen.clear()
    environ["HF_HUB_OFFLINE"] = "1"
    assert contents(run("pull", REFERENCE, "--json")) == FILES
    assert hub.seen == []


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("reference", "token", "code", "says"),
    [
        ("hf://acme/gated", None, 4, "accept the licence at "),
        ("hf://acme/gated", None, 4, "set HF_TOKEN"),
        ("hf://acme/gated", "hf_stranger", 4, "has not been granted access"),
        ("hf://acme/secret", None, 3, "or it is private"),
        ("hf://acme/secret", "hf_stranger", 3, "may not see it"),
        ("hf://acme/tiny", "hf_wrong", 4, "the Hugging Face token is refused"),
        ("hf://acme/tiny@v2", None, 3, "there is main, v1"),
        ("hf://acme/tinny", None, 3, "does not exist"),
        ("hf://acme/tiny?include=*.onnx", None, 3, "it has config.json"),
        ("hf://acme/gated", "hf_member", 0, ""),
        ("hf://acme/secret", "hf_member", 0, ""),
    ],
)
def test_each_refusal_says_what_to_do_next(
    run: Run, reference: str, token: str | None, code: int, says: str
) -> None:
    result = run("pull", reference, env={"HF_TOKEN": token} if token else {})
    assert result.code == code, result
    words(result, says)
    assert token is None or token not in result.err


def sh(script: str, directory: Path, **environ: str) -> "subprocess.CompletedProcess[bytes]":
    directory.mkdir()
    return subprocess.run(
        ["sh"],
        input=script.encode(),
        cwd=directory,
        env={"PATH": os.environ["PATH"], **environ},
        check=False,
        capture_output=True,
    )


def test_the_script_of_a_dry_run_opens_a_gated_repository_with_the_token_of_its_reader(
    hub: Hub, run: Run, tmp_path: Path
) -> None:
    dry = run("pull", "hf://acme/gated", "--dry-run", env={"HF_TOKEN": "hf_member"})
    assert "hf_member" not in dry.out
    hub.seen.clear()
    done = sh(dry.out, tmp_path / "with", HF_TOKEN="hf_member")  # noqa: S106 - of a stand-in
    assert done.returncode == 0, done
    assert {name: (tmp_path / "with" / name).read_bytes() for name in FILES} == FILES
    assert all("authorization" not in one.headers for one in hub.requests_to("cdn"))
    assert sh(dry.out, tmp_path / "without").returncode != 0
    public = run("pull", REFERENCE, "--dry-run")
    assert sh(public.out, tmp_path / "public").returncode == 0


def test_the_script_of_a_dry_run_sends_no_token_to_a_mirror(run: Run, tmp_path: Path) -> None:
    with Hub() as site:
        site.add("acme/tiny", FILES)
        run("pull", REFERENCE, env={"HF_ENDPOINT": site.endpoint})
    run("mirror", REFERENCE, tmp_path / "mirror")
    with FileServer() as server:
        for path in (tmp_path / "mirror").rglob("*"):
            if path.is_file():
                name = path.relative_to(tmp_path / "mirror").as_posix()
                server.put(name, Served(path.read_bytes()))
        mirror = {"NIMCTL_MIRROR_HF": server.url(""), "NIMCTL_HOME": str(tmp_path / "elsewhere")}
        dry = run("pull", REFERENCE, "--dry-run", env=mirror)
    assert dry.code == 0, dry
    assert "curl" in dry.out
    assert "hf_token" not in dry.out
