"""`mirror`: what was pulled here is pulled from there, by nimctl and as NIM would."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Result, Run, words
from hub import Hub
from ngc import Ngc
from nginx import Nginx
from s3_server import S3Server

FILES = {"config.json": b"{}", "sub/model.gguf": b"GGUF" + bytes(5000)}
REFERENCE = "hf://acme/tiny"


@pytest.fixture
def hub(environ: dict[str, str]) -> Iterator[Hub]:
    with Hub() as hub:
        hub.add("acme/tiny", FILES)
        environ["HF_ENDPOINT"] = hub.endpoint
        yield hub


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """Another machine, which reaches no registry."""
    nowhere = "https://127.0.0.1:9"
    return {
        "NIMCTL_HOME": str(tmp_path / "elsewhere"),
        "HF_ENDPOINT": nowhere,
        "NGC_CLI_API_URL": nowhere,
        "NGC_CLI_AUTH_URL": nowhere,
    }


def contents(result: Result) -> dict[str, bytes]:
    assert result.code == 0, result
    return {one["name"]: Path(one["path"]).read_bytes() for one in result.json["files"]}


def test_a_tree_on_a_disk_or_a_web_server_stands_for_the_hub(
    hub: Hub, run: Run, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    run("pull", REFERENCE, "--lock", "--lock-file", tmp_path / "nimctl.lock")
    mirror = tmp_path / "mirror"
    report = run("mirror", REFERENCE, mirror, "--json")
    assert report.code == 0, report
    assert report.json["files"] == 4
    commit = hub.repositories["acme/tiny"].branches["main"]
    weights = [
        mirror / "hf" / "acme" / "tiny" / revision / "sub" / "model.gguf"
        for revision in ("main", commit)
    ]
    # Nothing takes room twice.
    assert weights[0].samefile(weights[1])
    assert weights[0].stat().st_nlink == 3

    disk = {**elsewhere, "NIMCTL_MIRROR_HF": mirror.as_uri()}
    assert contents(run("pull", REFERENCE, "--json", env=disk)) == FILES
    with Nginx(tmp_path, mirror) as nginx:
        web = {**elsewhere, "NIMCTL_HOME": str(tmp_path / "web"), "NIMCTL_MIRROR_HF": nginx.url}
        locked = ("--locked", "--lock-file", tmp_path / "nimctl.lock")
        assert contents(run("pull", REFERENCE, *locked, "--json", env=web)) == FILES
        assert contents(run("pull", f"{REFERENCE}@{commit}", "--json", env=web)) == FILES


def test_a_bucket_in_nim_s_form_stands_for_ngc(
    run: Run, environ: dict[str, str], elsewhere: dict[str, str], tmp_path: Path
) -> None:
    reference = "ngc://nim/meta/llama:hf"
    with Ngc(tmp_path) as ngc:
        ngc.add("nim/meta/llama", is_public=True).add("hf", FILES)
        environ |= {
            "NGC_CLI_API_URL": ngc.url,
            "NGC_CLI_AUTH_URL": ngc.url,
            "SSL_CERT_FILE": ngc.ca_file,
        }
        assert run("pull", reference).code == 0
    mirror = tmp_path / "mirror"
    assert run("mirror", reference, mirror, "--form", "bucket").code == 0
    # As the example of NVIDIA's documentation has it.
    assert (mirror / "nim%2Fmeta%2Fllama%3Ahf%3Ffile%3Dconfig.json").is_file()
    with S3Server() as server:
        objects = {path.name: path.read_bytes() for path in mirror.iterdir()}
        server.fill("nim_bucket", objects)
        there = {
            **elsewhere,
            "NIM_REPOSITORY_OVERRIDE": "s3://nim_bucket/",
            "AWS_ENDPOINT_URL": server.url,
            "AWS_ACCESS_KEY_ID": server.key.access_key_id,
            "AWS_SECRET_ACCESS_KEY": server.key.secret_access_key,
        }
        assert contents(run("pull", reference, "--json", env=there)) == FILES


def test_a_mirror_is_laid_out_again_over_an_older_one(
    hub: Hub, run: Run, small_disk: Path, elsewhere: dict[str, str]
) -> None:
    """On another file system, where files are copied."""
    for files in (FILES, {**FILES, "config.json": b"[]"}):
        hub.repositories["acme/tiny"].commit(files)
        run("pull", REFERENCE)
        assert run("mirror", REFERENCE, small_disk).code == 0
    there = {**elsewhere, "NIMCTL_MIRROR_HF": small_disk.as_uri()}
    assert contents(run("pull", REFERENCE, "--json", env=there))["config.json"] == b"[]"


def test_what_cannot_be_mirrored_is_refused(hub: Hub, run: Run, tmp_path: Path) -> None:
    missing = run("mirror", REFERENCE, tmp_path / "mirror")
    assert missing.code == 3
    words(missing, "nimctl pull 'hf://acme/tiny'")
    run("pull", "capitals-demo")
    other = run("mirror", "capitals-demo", tmp_path / "mirror")
    assert other.code == 2
    words(other, "no registry that is mirrored")
    hub.add("acme/tiny", {f"{'x' * 250}.json": b"{}"})
    run("pull", REFERENCE)
    long = run("mirror", REFERENCE, tmp_path / "mirror", "--form", "bucket")
    assert long.code == 2
    words(long, "cannot be written", "File name too long")
