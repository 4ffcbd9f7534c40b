"""Registries and the transfer together: from a reference to verified blobs."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub import Hub

from nimctl.core.errors import AuthError, VerificationError
from nimctl.core.http import HttpOptions
from nimctl.core.layout import Layout
from nimctl.core.ports import Fetched, Registry
from nimctl.core.refs import ModelRef
from nimctl.registries.huggingface import HubCache, HuggingFaceRegistry
from nimctl.registries.local import LocalRegistry
from nimctl.store.blobs import BlobStore
from nimctl.store.transfer import Transfer, TransferOptions

WEIGHTS = bytes(range(256)) * 4000
FILES = {"config.json": b"{}", "empty.txt": b"", "sub/model.safetensors": WEIGHTS}
REF = ModelRef.parse("hf://acme/gated")
TOKEN = "hf_member"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        hub.add("acme/gated", FILES, gated="auto")
        hub.grants = {TOKEN: {"acme/gated"}}
        yield hub


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(Layout(home=str(tmp_path / "nimctl")))


def registry(hub: Hub, cache: Path | None = None) -> HuggingFaceRegistry:
    http = HttpOptions(attempts=2, pause_s=0.0)
    return HuggingFaceRegistry(hub.endpoint, TOKEN, HubCache(cache), http)


def fetch(one: Registry, ref: ModelRef, blobs: BlobStore) -> dict[str, Fetched]:
    transfer = Transfer(blobs, TransferOptions(retries=2, backoff_s=0.0))
    fetched = transfer.fetch(one.resolve(ref).files, one.locate, lambda _: None)
    return {file.path: file for file in fetched}


def content(blobs: BlobStore, fetched: dict[str, Fetched]) -> dict[str, bytes]:
    return {path: blobs.path(one.sha256).read_bytes() for path, one in fetched.items()}


def test_a_repository_arrives_whole_and_the_token_stays_with_the_hub(
    hub: Hub, blobs: BlobStore
) -> None:
    assert content(blobs, fetch(registry(hub), REF, blobs)) == FILES
    assert hub.requests_to("cdn")
    assert all("authorization" not in one.headers for one in hub.requests_to("cdn"))
    resolves = [one for one in hub.requests_to("hub") if "/resolve/" in one.path]
    assert all(one.headers["authorization"] == f"Bearer {TOKEN}" for one in resolves)


def test_a_signed_url_that_has_expired_is_asked_for_again(hub: Hub, blobs: BlobStore) -> None:
    hub.signature_uses = 1
    hub.faults.cuts["sub/model.safetensors"] = [1000]
    assert content(blobs, fetch(registry(hub), REF, blobs)) == FILES
    assert len(hub.signed) == 2


def test_access_that_was_withdrawn_after_the_look_up_is_an_auth_error(
    hub: Hub, blobs: BlobStore
) -> None:
    one = registry(hub)
    files = one.resolve(REF).files
    hub.grants[TOKEN].clear()
    with pytest.raises(AuthError):
        Transfer(blobs, TransferOptions()).fetch(files, one.locate, lambda _: None)


def test_a_flipped_byte_is_noticed(hub: Hub, blobs: BlobStore) -> None:
    hub.faults.flips["sub/model.safetensors"] = 500
    with pytest.raises(VerificationError, match=r"model\.safetensors"):
        fetch(registry(hub), REF, blobs)
    assert hashlib.sha256(WEIGHTS).hexdigest() not in set(blobs)


def test_what_hf_has_in_its_cache_is_not_downloaded(
    hub: Hub, blobs: BlobStore, tmp_path: Path
) -> None:
    hf = str(Path(sys.executable).parent / "hf")
    environ = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path), "HF_ENDPOINT": hub.endpoint}
    command = [hf, "download", "acme/gated"]
    subprocess.run(command, env={**environ, "HF_TOKEN": TOKEN}, check=True, capture_output=True)
    hub.seen.clear()
    cache = tmp_path / "hub"
    assert content(blobs, fetch(registry(hub, cache), REF, blobs)) == FILES
    assert not any("/resolve/" in one.path for one in hub.seen)
    assert hub.requests_to("cdn") == []

    (snapshot,) = (cache / "models--acme--gated" / "snapshots").iterdir()
    local = fetch(LocalRegistry(tmp_path), ModelRef.parse(f"file://{snapshot}"), blobs)
    assert content(blobs, local) == FILES
