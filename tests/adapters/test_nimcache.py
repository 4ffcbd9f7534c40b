"""Laying out NIM's cache and model stores: links, copies on other disks, and what is refused."""

import hashlib
import threading
from pathlib import Path

import pytest

from nimctl.core.errors import DiskFullError, NotFoundError, UsageError
from nimctl.core.facts import Artifact, File
from nimctl.core.layout import Layout
from nimctl.core.nim_workspace import CachedModel
from nimctl.store.blobs import BlobStore
from nimctl.store.nimcache import NimCache
from nimctl.store.placing import observe

VERSION = "0.11.1+ba20956e-l40sx1-bf16-throughput.1.1.0.17088220"
MODEL = CachedModel(
    reference=f"ngc://nim/acme/tiny:{VERSION}",
    path="ngc/hub/models--nim--acme--tiny",
    revision=VERSION,
    snapshot=VERSION,
)
URL = f"https://api.ngc.nvidia.com/v2/org/nim/team/acme/models/tiny/versions/{VERSION}/files/x"
CONTENT = {"config.json": b"{}", "deep/er/rank0.engine": b"engine" * 1000}


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(Layout(home=str(tmp_path / "nimctl")))


@pytest.fixture
def cache(blobs: BlobStore) -> NimCache:
    return NimCache(blobs.layout, blobs)


def stored(blobs: BlobStore, content: dict[str, bytes] | None = None) -> Artifact:
    """An artifact whose files are in the store; the first came with an ETag."""
    files = []
    for number, (path, data) in enumerate((content or CONTENT).items()):
        sha256 = hashlib.sha256(data).hexdigest()
        staged = blobs.layout.root / f"staged-{number}"
        staged.parent.mkdir(parents=True, exist_ok=True)
        staged.write_bytes(data)
        blobs.adopt(staged, sha256)
        etag = None if number else "0355b8d0421a12e6aeb6a2e9ef42ae60"
        files.append(
            File(path=path, url=URL, size=len(data), served_etag=etag, digests={"sha256": sha256})
        )
    return Artifact(reference=MODEL.reference, revision=VERSION, files=tuple(files))


def test_the_cache_has_blobs_links_and_the_ref_of_each_version(
    tmp_path: Path, blobs: BlobStore, cache: NimCache
) -> None:
    artifact = stored(blobs)
    cache.fill(tmp_path / "cache", MODEL, artifact)
    root = tmp_path / "cache" / MODEL.path
    snapshot = root / "snapshots" / VERSION
    assert {path: (snapshot / path).read_bytes() for path in CONTENT} == CONTENT
    link = (snapshot / "config.json").readlink()
    assert str(link) == "../../blobs/0355b8d0421a12e6aeb6a2e9ef42ae60"
    engine = artifact.files[1].sha256 or ""
    link = (snapshot / "deep/er/rank0.engine").readlink()
    assert str(link) == f"../../../../blobs/{engine}"
    assert (root / "blobs" / engine).samefile(blobs.path(engine))
    assert (root / "refs" / VERSION).read_text() == VERSION
    assert sorted(path.name for path in root.iterdir()) == ["blobs", "refs", "snapshots"]


def test_filling_again_changes_nothing_and_repairs_what_is_wrong(
    tmp_path: Path, blobs: BlobStore, cache: NimCache
) -> None:
    artifact = stored(blobs)
    directory = tmp_path / "cache"
    cache.fill(directory, MODEL, artifact)
    snapshot = directory / MODEL.path / "snapshots" / VERSION
    before = {path: (snapshot / path).stat().st_ino for path in CONTENT}
    cache.fill(directory, MODEL, artifact)
    assert {path: (snapshot / path).stat().st_ino for path in CONTENT} == before
    blob = (snapshot / "config.json").resolve()
    blob.unlink()
    blob.write_bytes(b"[]")  # as long, and something else
    (snapshot / "deep/er/rank0.engine").unlink()
    (snapshot / "deep/er/rank0.engine").write_bytes(b"a file")
    cache.fill(directory, MODEL, artifact)
    assert {path: (snapshot / path).read_bytes() for path in CONTENT} == CONTENT


def test_two_versions_share_what_they_have_in_common(
    tmp_path: Path, blobs: BlobStore, cache: NimCache
) -> None:
    artifact = stored(blobs)
    other = CachedModel(reference="r", path=MODEL.path, revision="hf-1", snapshot="hf-1")
    for model in (MODEL, other):
        cache.fill(tmp_path / "cache", model, artifact)
    root = tmp_path / "cache" / MODEL.path
    assert len(list((root / "blobs").iterdir())) == len(CONTENT)
    assert sorted(path.name for path in (root / "refs").iterdir()) == sorted([VERSION, "hf-1"])


def test_on_another_disk_files_are_copied_and_readable(
    small_disk: Path, blobs: BlobStore, cache: NimCache
) -> None:
    artifact = stored(blobs)
    cache.fill(small_disk / "cache", MODEL, artifact)
    snapshot = small_disk / "cache" / MODEL.path / "snapshots" / VERSION
    assert {path: (snapshot / path).read_bytes() for path in CONTENT} == CONTENT
    copy = (snapshot / "config.json").resolve()
    assert copy.stat().st_mode & 0o777 == 0o644
    before = copy.stat().st_ino
    cache.fill(small_disk / "cache", MODEL, artifact)
    assert copy.stat().st_ino == before
    large = stored(blobs, {"large": bytes(3 * 2**20)})
    with pytest.raises(DiskFullError):
        cache.fill(small_disk / "cache", MODEL, large)
    leftovers = [path for path in small_disk.rglob("*") if path.name.startswith(".")]
    assert leftovers == []


def test_what_is_not_in_the_store_is_not_laid_out(
    tmp_path: Path, blobs: BlobStore, cache: NimCache
) -> None:
    artifact = stored(blobs)
    blobs.remove(artifact.files[1].sha256 or "")
    with pytest.raises(NotFoundError):
        cache.fill(tmp_path / "cache", MODEL, artifact)
    assert not (tmp_path / "cache" / MODEL.path / "refs").exists()


def test_many_at_once_lay_out_one_cache(tmp_path: Path, blobs: BlobStore, cache: NimCache) -> None:
    artifact = stored(blobs)
    failures: list[BaseException] = []

    def fill() -> None:
        try:
            cache.fill(tmp_path / "cache", MODEL, artifact)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    threads = [threading.Thread(target=fill) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    snapshot = tmp_path / "cache" / MODEL.path / "snapshots" / VERSION
    assert {path: (snapshot / path).read_bytes() for path in CONTENT} == CONTENT


def test_a_model_store_holds_one_profile_and_nothing_else(
    tmp_path: Path, blobs: BlobStore, cache: NimCache
) -> None:
    artifact = stored(blobs)
    files = {f"trtllm_engine/{file.path}": file.sha256 or "" for file in artifact.files}
    store = tmp_path / "store"
    for _ in range(2):
        cache.fill_store(store, "an-id", files)
    found = {
        str(path.relative_to(store)): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    assert found == {f"trtllm_engine/{path}": data for path, data in CONTENT.items()}
    with pytest.raises(UsageError, match="has the files of profile an-id"):
        cache.fill_store(store, "another", files)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").touch()
    with pytest.raises(UsageError, match="is not empty"):
        cache.fill_store(mine, "an-id", files)
    assert [path.name for path in mine.iterdir()] == ["thesis.tex"]


def test_a_destination_is_observed_before_it_is_there(
    tmp_path: Path, small_disk: Path, blobs: BlobStore
) -> None:
    here = observe(tmp_path / "a" / "b", blobs.layout)
    assert (here.shares_disk, here.is_writable) == (True, True)
    there = observe(small_disk / "a", blobs.layout)
    assert there.shares_disk is False
    assert there.free_bytes <= 2 * 2**20
