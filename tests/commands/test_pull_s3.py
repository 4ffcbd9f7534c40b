"""`pull` of s3:// and through mirrors, against real servers."""

import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from conftest import Result, Run, words
from hub import Hub
from s3_server import S3Server
from transfers import sha256_of

FILES = {"config.json": b"{}", "model.gguf": bytes(range(256)) * 4000}
RELEASE = "nim/meta/llama:hf"


def packed(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server() as server:
        server.fill("models", {f"llama/{path}": data for path, data in FILES.items()})
        server.fill("archives", {"llama.tar.gz": packed(FILES)})
        keys = {quote(f"{RELEASE}?file={path}", safe=""): data for path, data in FILES.items()}
        server.fill("mirror", keys)
        server.check_signatures(really=True)
        yield server


@pytest.fixture
def store(server: S3Server, environ: dict[str, str]) -> S3Server:
    environ |= {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": server.key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": server.key.secret_access_key,
    }
    return server


def contents(result: Result) -> dict[str, bytes]:
    assert result.code == 0, result
    return {one["name"]: Path(one["path"]).read_bytes() for one in result.json["files"]}


def test_a_prefix_is_pulled_once_and_its_secret_never_shown(store: S3Server, run: Run) -> None:
    first = run("pull", "s3://models/llama", "--json", "--progress", "json")
    assert contents(first) == FILES
    assert store.key.secret_access_key not in first.out + first.err
    again = run("pull", "s3://models/llama", "--json")
    assert again.json["bytes_fetched"] == 0
    assert contents(run("pull", "s3://models/llama", "--offline", "--json")) == FILES


@pytest.mark.usefixtures("store")
def test_an_archive_in_a_bucket_is_unpacked(run: Run) -> None:
    assert contents(run("pull", "s3://archives/llama.tar.gz", "--json")) == FILES


@pytest.mark.usefixtures("store")
def test_a_dry_run_names_the_command_that_people_have(run: Run) -> None:
    script = run("pull", "s3://models/llama", "--dry-run").out
    assert "aws s3 cp s3://models/llama/model.gguf model.gguf" in script.splitlines()


def test_keys_come_from_a_profile_too(store: S3Server, run: Run, environ: dict[str, str]) -> None:
    directory = Path(environ["HOME"]) / ".aws"
    directory.mkdir()
    key = store.key
    (directory / "credentials").write_text(
        f"[minio]\naws_access_key_id = {key.access_key_id}\n"
        f"aws_secret_access_key = {key.secret_access_key}\n"
    )
    (directory / "config").write_text(f"[profile minio]\nendpoint_url = {store.url}\n")
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del environ[name]
    environ["AWS_PROFILE"] = "minio"
    assert contents(run("pull", "s3://models/llama", "--json")) == FILES


def test_a_wrong_secret_is_exit_4(store: S3Server, run: Run, environ: dict[str, str]) -> None:
    del store
    environ["AWS_SECRET_ACCESS_KEY"] = "wrong"
    result = run("pull", "s3://models/llama")
    assert result.code == 4
    words(result, "does not belong to its access key", "AWS_SECRET_ACCESS_KEY")


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("by", ["NIM_REPOSITORY_OVERRIDE", "NIMCTL_MIRROR_NGC", "config.toml"])
def test_ngc_models_come_from_a_bucket_that_nim_reads(
    run: Run, environ: dict[str, str], by: str
) -> None:
    if by == "config.toml":
        config = Path(environ["HOME"]) / ".config" / "nimctl" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text('[mirrors]\nngc = "s3://mirror/"\n')
    else:
        environ[by] = "s3://mirror/"
    result = run("pull", f"ngc://{RELEASE}", "--json")
    assert contents(result) == FILES
    assert result.json["reference"] == f"ngc://{RELEASE}"


def test_what_config_toml_says_of_mirrors_is_checked(run: Run, environ: dict[str, str]) -> None:
    config = Path(environ["HOME"]) / ".config" / "nimctl" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[mirrors]\noci = "s3://mirror/"\n')
    result = run("list")
    assert result.code == 2
    words(result, "`[mirrors]`", "ngc")
    config.write_text('[mirrors]\nngc = "http://mirror.example/"\n')
    result = run("list")
    assert result.code == 2
    words(result, "not encrypted")


def test_what_was_locked_online_is_pulled_from_a_mirror_on_a_disk(run: Run, tmp_path: Path) -> None:
    lock = tmp_path / "nimctl.lock"
    with Hub() as hub:
        commit = hub.add("org/model", FILES).branches["main"]
        online = {"HF_ENDPOINT": hub.endpoint}
        done = run("pull", "hf://org/model", "--lock", "--lock-file", lock, env=online)
        assert done.code == 0, done
    place = tmp_path / "mirror" / "hf" / "org" / "model" / commit
    place.mkdir(parents=True)
    for path, data in FILES.items():
        (place / path).write_bytes(data)

    elsewhere = {
        "NIMCTL_HOME": str(tmp_path / "other"),
        "NIMCTL_MIRROR_HF": (tmp_path / "mirror").as_uri(),
        "HF_ENDPOINT": "https://127.0.0.1:9",
        "HF_HUB_OFFLINE": "1",
    }
    locked = ("pull", "hf://org/model", "--locked", "--lock-file", lock, "--json")
    assert contents(run(*locked, env=elsewhere)) == FILES

    (place / "model.gguf").write_bytes(FILES["model.gguf"][:-1] + b"x")
    elsewhere["NIMCTL_HOME"] = str(tmp_path / "third")
    damaged = run(*locked, env=elsewhere)
    assert damaged.code == 6
    words(damaged, "model.gguf", sha256_of(FILES["model.gguf"]))


def test_versions_are_not_asked_of_ngc_where_a_mirror_stands_for_it(
    run: Run, environ: dict[str, str]
) -> None:
    environ["NIMCTL_MIRROR_NGC"] = "s3://mirror/"
    result = run("versions", f"ngc://{RELEASE}")
    assert result.code == 2
    words(result, "mirror")
