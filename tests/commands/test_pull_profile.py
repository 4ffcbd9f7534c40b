"""`nimctl pull --manifest`: a profile's files from NGC and the Hub, where NIM looks for them."""

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import jsonschema
import msgspec
import pytest
import yaml
from conftest import Run, steps, words
from docker_cli import RUN, docker
from hub import Hub
from ngc import Ngc
from nim_images import make_file_image
from transfers import blake3_of, sha256_of

from nimctl.core.layout import Layout
from nimctl.core.nim_manifest import MANIFEST_PATHS
from nimctl.core.reports import ProfilePullReport

CHECKPOINT = {"config.json": b'{"a": 1}', "LICENSE": b"do", "weights.safetensors": b"not taken"}
ENGINE = {"config.json": b"{}", "rank0.engine": bytes(range(256)) * 4000, "extra.bin": b"x"}
# A safetensors file without tensors: the length of its header, and that.
WEIGHTS = (2).to_bytes(8, "little") + b"{}"
ENGINE_ID, VLLM_ID = "3a" * 32, "3b" * 32
TINY = "ngc/hub/models--acme--team--tiny-llm"


def uri(version: str, name: str) -> str:
    return f"ngc://acme/team/tiny-llm:{version}?file={name}"


def manifest(checksum: str | None = None) -> dict[str, Any]:
    files: dict[str, Any] = {
        "LICENSE": {"uri": uri("hf-1234567", "LICENSE")},
        "config.json": {"uri": uri("hf-1234567", "config.json")},
        "trtllm_engine/config.json": {"uri": uri("a100x1", "config.json")},
        "trtllm_engine/rank0.engine": {
            "uri": uri("a100x1", "rank0.engine"),
            "checksum": f"blake3:{checksum or blake3_of(ENGINE['rank0.engine'])}",
        },
    }
    tags = {"llm_engine": "tensorrt_llm", "gpu": "A100", "gpu_device": "20b2:10de", "tp": "1",
            "pp": "1", "precision": "bf16", "profile": "throughput"}  # fmt: skip
    vllm = {"llm_engine": "vllm", "precision": "bf16", "tp": "1", "pp": "1"}
    config = {"config.json": {"uri": uri("hf-1234567", "config.json")}}
    return {
        "schema_version": "2.0",
        "profiles": [
            {"id": ENGINE_ID, "tags": tags, "workspace": {"files": files}},
            {"id": VLLM_ID, "tags": vllm, "workspace": {"files": config}},
        ],
    }


@pytest.fixture
def ngc(tmp_path: Path, environ: dict[str, str]) -> Iterator[Ngc]:
    with Ngc(tmp_path, encrypted_blobs=True) as standin:
        model = standin.add("acme/team/tiny-llm", is_public=True)
        model.add("hf-1234567", CHECKPOINT)
        model.add("a100x1", ENGINE)
        environ |= {
            "NGC_CLI_API_URL": standin.url,
            "NGC_CLI_AUTH_URL": standin.url,
            "SSL_CERT_FILE": standin.ca_file,
            "LOCAL_NIM_CACHE": str(tmp_path / "cache"),
        }
        yield standin


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path, manifest())


def write(directory: Path, document: object) -> Path:
    path = directory / "model_manifest.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def cached(cache: Path, version: str) -> dict[str, bytes]:
    """What a container finds in a snapshot."""
    snapshot = cache / TINY / "snapshots" / version
    return {str(one.relative_to(snapshot)): one.read_bytes() for one in snapshot.rglob("*")}


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("storage", ["V1", "V2", "refused"])
def test_a_profile_is_laid_out_as_nim_would_have_done(
    run: Run, ngc: Ngc, file: Path, tmp_path: Path, storage: str
) -> None:
    ngc.refuses_lists = storage == "refused"
    ngc.storage = "V1" if storage == "V1" else "V2"
    result = run("pull", "--manifest", file, "--profile", ENGINE_ID, "--json")
    assert result.code == 0, result
    report = result.json
    jsonschema.validate(report, msgspec.json.schema(ProfilePullReport))
    cache = tmp_path / "cache"
    wanted = {name: ENGINE[name] for name in ("config.json", "rank0.engine")}
    assert cached(cache, "a100x1") == wanted
    assert cached(cache, "hf-1234567") == {n: CHECKPOINT[n] for n in ("config.json", "LICENSE")}
    assert sorted(path.name for path in (cache / TINY / "refs").iterdir()) == [
        "a100x1",
        "hf-1234567",
    ]
    contents = [*wanted.values(), CHECKPOINT["config.json"], CHECKPOINT["LICENSE"]]
    blobs = {path.name: path.read_bytes() for path in (cache / TINY / "blobs").iterdir()}
    assert blobs == {md5(data): data for data in contents}
    assert report["inferred_blob_names"] == 0
    assert report["environment"] == {"NIM_MODEL_PROFILE": ENGINE_ID}
    assert report["bytes_fetched"] == sum(map(len, contents))
    assert [one["cached"] for one in report["sources"]] == [
        str(cache / TINY / "snapshots" / version) for version in ("a100x1", "hf-1234567")
    ]
    assert f"-v {cache}:/opt/nim/.cache -e NIM_MODEL_PROFILE={ENGINE_ID}" in result.err


@pytest.mark.usefixtures("ngc")
def test_a_second_pull_moves_nothing_and_offline_fills_another_cache(
    run: Run, ngc: Ngc, file: Path, tmp_path: Path
) -> None:
    name = "tensorrt_llm-a100-bf16-tp1-pp1-throughput"
    assert run("pull", "--manifest", file, "--profile", name).code == 0
    again = run("pull", "--manifest", file, "--profile", name, "--json").json
    assert (again["bytes_fetched"], again["inferred_blob_names"]) == (0, 0)
    asked = len(ngc.seen)
    offline = run("pull", "--manifest", file, "--profile", name, "--offline",
                  "--cache", tmp_path / "other", "--json")  # fmt: skip
    assert offline.code == 0, offline
    assert len(ngc.seen) == asked
    assert cached(tmp_path / "other", "a100x1") == cached(tmp_path / "cache", "a100x1")
    engine = tmp_path / "other" / TINY / "blobs" / md5(ENGINE["rank0.engine"])
    assert engine.is_file()
    listed = run("list-profiles", "--manifest", file, "--gpu", "a100_sxm_80gb", "--json").json
    states = {one["id"]: (one["engine"], one["download_bytes"]) for one in listed["profiles"]}
    size = sum(len(ENGINE[n]) for n in ("config.json", "rank0.engine"))
    size += sum(len(CHECKPOINT[n]) for n in ("config.json", "LICENSE"))
    assert states == {ENGINE_ID: ("cached", size), VLLM_ID: ("none", None)}


@pytest.mark.usefixtures("ngc")
def test_offline_without_the_files_is_refused(run: Run, file: Path) -> None:
    result = run("pull", "--manifest", file, "--profile", ENGINE_ID, "--offline")
    assert result.code == 5
    words(result, "is not in the store")


def test_a_file_that_is_not_what_the_manifest_states_is_named_and_not_laid_out(
    run: Run, ngc: Ngc, tmp_path: Path
) -> None:
    # NGC's own digest is right: only the manifest's tells.
    file = write(tmp_path, manifest(checksum="00" * 32))
    result = run("pull", "--manifest", file, "--profile", ENGINE_ID)
    assert result.code == 6
    words(result, "rank0.engine", "blake3")
    assert not (tmp_path / "cache" / TINY).exists()
    ngc.faults.flips["rank0.engine"] = 77
    good = write(tmp_path, manifest())
    assert run("pull", "--manifest", good, "--profile", ENGINE_ID).code == 6
    ngc.faults.flips.clear()
    resumed = run("pull", "--manifest", good, "--profile", ENGINE_ID, "--json")
    assert resumed.code == 0, resumed
    assert cached(tmp_path / "cache", "a100x1")["rank0.engine"] == ENGINE["rank0.engine"]


def test_what_is_stored_is_compared_with_a_checksum_that_is_stated_only_later(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_bytes(b"{}")
    path = str(tmp_path / "config.json")

    def stating(checksum: str | None) -> Path:
        entry = {"uri": path} | ({"checksum": f"blake3:{checksum}"} if checksum else {})
        profile = {"id": VLLM_ID, "tags": {"llm_engine": "vllm"},
                   "workspace": {"files": {"config.json": entry}}}  # fmt: skip
        return write(tmp_path, {"schema_version": "2.0", "profiles": [profile]})

    def pull(checksum: str | None) -> Any:
        store = tmp_path / "store"
        return run("pull", "--manifest", stating(checksum), "--profile", VLLM_ID,
                   "--model-store", store)  # fmt: skip

    first = pull(None)
    assert first.code == 0
    assert "1 file verified" in first.out
    refused = pull("00" * 32)
    assert refused.code == 6
    words(refused, "config.json", "is not what the manifest wants", blake3_of(b"{}"))
    assert pull(blake3_of(b"{}")).code == 0


def test_a_broken_download_goes_on_where_it_stopped(
    run: Run, ngc: Ngc, file: Path, tmp_path: Path
) -> None:
    half = len(ENGINE["rank0.engine"]) // 2
    ngc.faults.cuts["rank0.engine"] = [half]
    result = run("pull", "--manifest", file, "--profile", ENGINE_ID, "--json")
    assert result.code == 0, result
    assert cached(tmp_path / "cache", "a100x1")["rank0.engine"] == ENGINE["rank0.engine"]
    asked = [one.headers.get("range", "") for one in ngc.requests_to("blob", "rank0.engine")]
    assert any(one.startswith(f"bytes={half}-") for one in asked)


@pytest.mark.usefixtures("ngc")
def test_a_lock_file_holds_every_source(run: Run, ngc: Ngc, file: Path, tmp_path: Path) -> None:
    lock = tmp_path / "nimctl.lock"
    pull = ("pull", "--manifest", file, "--profile", ENGINE_ID, "--lock-file", lock)
    assert run(*pull, "--lock").code == 0
    assert sorted(msgspec.json.decode(lock.read_bytes())["artifacts"][0]) != []
    assert run(*pull, "--locked").code == 0
    ngc.models["acme", "team", "tiny-llm"].versions["a100x1"].files["config.json"] = b"[]"
    run("rm", "ngc://acme/team/tiny-llm:a100x1?file=config.json&file=rank0.engine")
    changed = run(*pull, "--locked")
    assert changed.code == 6
    words(changed, "config.json")
    other = run("pull", "--manifest", file, "--profile", VLLM_ID, "--lock-file", lock, "--locked")
    assert other.code == 3


@pytest.mark.usefixtures("ngc")
def test_the_dry_run_prints_the_plan_and_moves_nothing(
    run: Run, file: Path, tmp_path: Path, layout: Layout
) -> None:
    pull = ("pull", "--manifest", file, "--profile", ENGINE_ID, "--dry-run")
    plan = run(*pull, "--model-store", tmp_path / "store", "--cache", tmp_path / "c", "--json").json
    assert steps(plan) == ["Fetch", "Fetch", "FillCache", "FillStore"]
    lines = run(*pull).out.splitlines()
    snapshot = tmp_path / "cache" / TINY / "snapshots" / "a100x1"
    assert any(f"--output {snapshot}/rank0.engine" in line for line in lines)
    assert f"printf %s a100x1 > {tmp_path}/cache/{TINY}/refs/a100x1" in lines
    assert not layout.root.exists()
    assert not (tmp_path / "cache").exists()


def test_the_script_of_a_dry_run_lays_out_what_nimctl_would(
    run: Run, environ: dict[str, str], tmp_path: Path
) -> None:
    sources = tmp_path / "sources"
    for directory, files in (("hf", CHECKPOINT), ("engine", ENGINE)):
        (sources / directory).mkdir(parents=True)
        for name, data in files.items():
            (sources / directory / name).write_bytes(data)
    document = {
        ENGINE_ID: {
            "tags": {"llm_engine": "vllm"},
            "workspace": {
                "files": {
                    "config.json": {"uri": f"{sources}/hf/config.json"},
                    "trtllm_engine/config.json": {"uri": f"file://{sources}/engine/config.json"},
                }
            },
        }
    }
    file = write(tmp_path, document)
    pull = ("pull", "--manifest", file, "--profile", ENGINE_ID, "--model-store")
    script = run(*pull, tmp_path / "by hand", "--dry-run").out
    subprocess.run(["bash", "-c", script], env=environ, check=True)
    run(*pull, tmp_path / "by nimctl")
    held = run(*pull, tmp_path / "from the store", "--dry-run").out
    subprocess.run(["bash", "-c", held], env=environ, check=True)
    for name in ("by hand", "by nimctl", "from the store"):
        assert (tmp_path / name / "config.json").read_bytes() == CHECKPOINT["config.json"]
        inside = tmp_path / name / "trtllm_engine" / "config.json"
        assert inside.read_bytes() == ENGINE["config.json"]
    assert not list(tmp_path.glob("*.fetched"))


@pytest.mark.usefixtures("ngc")
def test_a_model_store_has_the_workspace_alone_and_the_cache_stays_empty(
    run: Run, file: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    pull = ("pull", "--manifest", file, "--model-store", store, "--profile")
    report = run(*pull, ENGINE_ID, "--json").json
    assert (report["cache"], report["model_store"]) == (None, str(store))
    found = {str(p.relative_to(store)) for p in store.rglob("[!.]*") if p.is_file()}
    assert found == {
        "LICENSE", "config.json", "trtllm_engine/config.json", "trtllm_engine/rank0.engine"
    }  # fmt: skip
    assert not (tmp_path / "cache").exists()
    other = run(*pull, VLLM_ID)
    assert other.code == 2
    words(other, "has the files of profile")


def test_the_hubs_own_client_finds_what_comes_from_the_hub(
    run: Run, environ: dict[str, str], tmp_path: Path
) -> None:
    with Hub() as hub:
        repository = hub.add("acme/tiny", {"config.json": b"{}", "w.safetensors": WEIGHTS})
        environ["HF_ENDPOINT"] = hub.endpoint
        names = ("config.json", "w.safetensors")
        files = {name: {"uri": f"hf://acme/tiny:main?file={name}"} for name in names}
        document = {"x": {"tags": {"llm_engine": "vllm"}, "workspace": {"files": files}}}
        file = write(tmp_path, document)
        result = run("pull", "--manifest", file, "--profile", "x", "--cache", tmp_path / "cache")
        assert result.code == 0, result
    found = huggingface_hub.snapshot_download(
        "acme/tiny", cache_dir=tmp_path / "cache" / "huggingface" / "hub", local_files_only=True
    )
    assert Path(found).name == repository.branches["main"]
    assert (Path(found) / "w.safetensors").read_bytes() == WEIGHTS


@pytest.mark.usefixtures("ngc")
def test_a_container_reads_the_cache_as_an_ordinary_user(
    run: Run, file: Path, tmp_path: Path, image: str
) -> None:
    assert run("pull", "--manifest", file, "--profile", ENGINE_ID).code == 0
    engine = f"/opt/nim/.cache/{TINY}/snapshots/a100x1/rank0.engine"
    line = docker("run", "--rm", "--network", "none", "--user", "1000:1000",
                  "--volume", f"{tmp_path}/cache:/opt/nim/.cache:ro", "--entrypoint", "sha256sum",
                  image, engine)  # fmt: skip
    assert line.split()[0] == sha256_of(ENGINE["rank0.engine"])


@pytest.mark.usefixtures("ngc", "docker_runs")
def test_a_profile_of_an_image_comes_and_the_line_that_starts_it_names_the_image(run: Run) -> None:
    reference = f"nvcr.io/nim/test/tiny:{RUN}"
    files = {MANIFEST_PATHS[0]: yaml.safe_dump(manifest()).encode()}
    make_file_image(reference, files, {})
    try:
        result = run("pull", "--image", reference, "--profile", VLLM_ID)
    finally:
        docker("rmi", "--force", reference)
    assert result.code == 0, result
    assert f"-e NIM_MODEL_PROFILE={VLLM_ID} -p 8000:8000 {reference}" in result.err


@pytest.mark.usefixtures("ngc")
def test_a_whole_version_of_an_older_manifest_comes(run: Run, tmp_path: Path) -> None:
    component = {"dst": "models/", "src": {"repo_id": "acme/team/tiny-llm:a100x1"}}
    profile = {
        "id": "Mol",
        "tags": {"backend": "pytorch"},
        "workspace": {"components": [component]},
    }
    file = write(tmp_path, {"model_profile": "Mol", "manifest": [profile]})
    result = run("pull", "--manifest", file, "--profile", "Mol", "--cache", tmp_path / "cache",
                 "--model-store", tmp_path / "store", "--json")  # fmt: skip
    assert result.code == 0, result
    assert cached(tmp_path / "cache", "a100x1") == ENGINE
    store = tmp_path / "store" / "models"
    assert {path.name: path.read_bytes() for path in store.iterdir()} == ENGINE
    assert result.json["sources"][0]["reference"] == "ngc://acme/team/tiny-llm:a100x1"


@pytest.mark.usefixtures("ngc")
def test_without_a_name_the_best_that_runs_here_is_taken_or_none(run: Run, file: Path) -> None:
    result = run("pull", "--manifest", file)
    assert result.code == 7
    words(result, "no profile of the manifest runs on this machine", "--profile")


@pytest.mark.usefixtures("ngc")
def test_what_is_wrong_is_said_before_the_first_byte(run: Run, file: Path, tmp_path: Path) -> None:
    assert run("pull").code == 2
    assert run("pull", "capitals-demo", "--manifest", file).code == 2
    assert run("pull", "capitals-demo", "--cache", tmp_path).code == 2
    unknown = run("pull", "--manifest", file, "--profile", "vllm-fp8-tp2")
    assert unknown.code == 3
    document = manifest()
    files = document["profiles"][1]["workspace"]["files"]
    files["absent.json"] = {"uri": uri("hf-1234567", "absent.json")}
    absent = run("pull", "--manifest", write(tmp_path, document), "--profile", VLLM_ID)
    assert absent.code == 3
    words(absent, "has no file absent.json")
    files["absent.json"] = {"uri": "gs://bucket/absent.json"}
    elsewhere = run("pull", "--manifest", write(tmp_path, document), "--profile", VLLM_ID)
    assert elsewhere.code == 2
    files["absent.json"] = {"uri": "/opt/nim/inside.json"}
    inside = run("pull", "--manifest", write(tmp_path, document), "--profile", VLLM_ID)
    assert inside.code == 0, inside
    assert "/opt/nim/inside.json is not on this machine, but in the image" in inside.err


@pytest.mark.usefixtures("ngc")
def test_a_cache_on_a_full_disk_is_refused_before_the_first_byte(
    run: Run, ngc: Ngc, tmp_path: Path, small_disk: Path
) -> None:
    large = bytes(3 * 2**20)
    ngc.models["acme", "team", "tiny-llm"].add("big", {"large.bin": large})
    files = {"large.bin": {"uri": uri("big", "large.bin")}}
    document = {"x": {"tags": {"llm_engine": "vllm"}, "workspace": {"files": files}}}
    file = write(tmp_path, document)
    result = run("pull", "--manifest", file, "--profile", "x", "--cache", small_disk / "cache")
    assert result.code == 12
    words(result, "another disk")
    assert ngc.requests_to("blob") == []


@pytest.mark.usefixtures("ngc")
def test_the_list_of_models_says_how_many_files_of_a_version_there_are(
    run: Run, file: Path
) -> None:
    run("pull", "--manifest", file, "--profile", ENGINE_ID)
    assert "ngc://acme/team/tiny-llm:a100x1 (2 of its files)" in run("list").out


def test_an_archive_in_a_workspace_stays_as_it_is(run: Run, ngc: Ngc, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("inside.txt"))
    archive = buffer.getvalue()
    ngc.models["acme", "team", "tiny-llm"].add("rmir", {"model.tar.gz": archive})
    files = {"model.tar.gz": {"uri": uri("rmir", "model.tar.gz")}}
    document = {"x": {"tags": {"model_type": "rmir"}, "workspace": {"files": files}}}
    pull = ("pull", "--manifest", write(tmp_path, document), "--profile", "x")
    for _ in range(2):
        result = run(*pull)
        assert result.code == 0, result
        assert cached(tmp_path / "cache", "rmir") == {"model.tar.gz": archive}
    assert run(*pull, "--offline").code == 0
