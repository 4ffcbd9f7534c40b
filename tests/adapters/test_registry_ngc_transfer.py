"""NGC and the transfer together: from a reference to verified blobs."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from faulty_server import Seen
from ngc import Ngc
from transfers import blake3_of

from nimctl.core.errors import AuthError, NetworkError, NotFoundError, VerificationError
from nimctl.core.http import HttpOptions
from nimctl.core.layout import Layout
from nimctl.core.ngc import credential
from nimctl.core.ports import Fetched
from nimctl.core.refs import ModelRef
from nimctl.http import Client
from nimctl.registries.ngc.registry import NgcRegistry
from nimctl.store.blobs import BlobStore
from nimctl.store.transfer import Transfer, TransferOptions

WEIGHTS = bytes(range(256)) * 4000
FILES = {"config.json": b"{}", "empty.txt": b"", "sub/model.onnx": WEIGHTS}
REF = ModelRef.parse("ngc://acme/vision/detector")
LEGACY, PERSONAL = "bGVnYWN5LWtleQ", "nvapi-personal"
DRIVER = """
import sys
from test_registry_ngc_transfer import fetch_from
fetch_from(*sys.argv[1:])
"""


@contextmanager
def standin(directory: Path, *, encrypted_blobs: bool = False) -> Iterator[Ngc]:
    with Ngc(directory, encrypted_blobs=encrypted_blobs) as ngc:
        ngc.add("acme/vision/detector", is_public=True).add("1.0.0", FILES)
        ngc.keys = {LEGACY: {"acme"}, PERSONAL: {"acme"}}
        yield ngc


@pytest.fixture
def ngc(tmp_path: Path) -> Iterator[Ngc]:
    with standin(tmp_path) as ngc:
        yield ngc


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[Ngc]:
    """A stand-in whose API may redirect to its object store."""
    with standin(tmp_path, encrypted_blobs=True) as ngc:
        yield ngc


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(Layout(home=str(tmp_path / "nimctl")))


@contextmanager
def registry(url: str, ca_file: str, key: str | None) -> Iterator[NgcRegistry]:
    with Client(HttpOptions(ca_file=ca_file, attempts=2, pause_s=0.0)) as client:
        yield NgcRegistry(client, url, url, credential(key))


def transfer(blobs: BlobStore, ca_file: str) -> Transfer:
    options = TransferOptions(
        retries=2, backoff_s=0.0, ca_file=ca_file, range_bytes=2**18, checkpoint_s=0.02
    )
    return Transfer(blobs, options)


def fetch(ngc: Ngc, blobs: BlobStore, key: str | None = None) -> dict[str, Fetched]:
    with registry(ngc.url, ngc.ca_file, key) as one:
        files = one.resolve(REF).files
        fetched = transfer(blobs, ngc.ca_file).fetch(files, one.locate, lambda _: None)
    return {file.path: file for file in fetched}


def fetch_from(url: str, ca_file: str, home: str) -> None:
    """What a process of its own does until it is killed."""
    with registry(url, ca_file, None) as one:
        files = one.resolve(REF).files
        transfer(BlobStore(Layout(home=home)), ca_file).fetch(files, one.locate, lambda _: None)


def lists_of_urls(ngc: Ngc) -> list[Seen]:
    """The requests for the presigned URLs of all files."""
    return [one for one in ngc.requests_to("api") if one.path.endswith("/1.0.0/files")]


def with_checksums(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files and NIM's list of their digests."""
    lines = "".join(f"{blake3_of(data)}  {path}\n" for path, data in files.items())
    return {**files, "checksums.blake3": lines.encode()}


def content(blobs: BlobStore, fetched: dict[str, Fetched]) -> dict[str, bytes]:
    return {path: blobs.path(one.sha256).read_bytes() for path, one in fetched.items()}


@pytest.mark.parametrize("key", [None, LEGACY, PERSONAL])
def test_a_version_arrives_whole_and_credentials_stay_with_the_api(
    ngc: Ngc, blobs: BlobStore, key: str | None
) -> None:
    assert content(blobs, fetch(ngc, blobs, key)) == FILES
    asked = ngc.requests_to("blob")
    assert asked
    for name in ("authorization", "x-ngc-guest-token"):
        assert all(name not in one.headers for one in asked)
    assert len(lists_of_urls(ngc)) == 1


def test_presigned_urls_that_have_expired_are_renewed_all_at_once(
    ngc: Ngc, blobs: BlobStore
) -> None:
    with registry(ngc.url, ngc.ca_file, None) as one:
        config, empty, weights = one.resolve(REF).files
        one.locate(empty)
        for signed in ngc.signed.values():
            signed.uses = 0
        fetched = transfer(blobs, ngc.ca_file).fetch([config, weights], one.locate, lambda _: None)
    assert [file.size for file in fetched] == [2, len(WEIGHTS)]
    assert len(lists_of_urls(ngc)) == 2


def test_a_presigned_url_may_be_good_for_one_request_only(ngc: Ngc, blobs: BlobStore) -> None:
    ngc.signature_uses = 1
    ngc.faults.cuts["sub/model.onnx"] = [1000]
    assert content(blobs, fetch(ngc, blobs)) == FILES


def test_access_that_was_withdrawn_after_the_look_up_is_an_auth_error(
    ngc: Ngc, blobs: BlobStore
) -> None:
    with registry(ngc.url, ngc.ca_file, PERSONAL) as one:
        files = one.resolve(REF).files
        ngc.models["acme", "vision", "detector"].refusal = 402
        with pytest.raises(AuthError, match="entitlement"):
            transfer(blobs, ngc.ca_file).fetch(files, one.locate, lambda _: None)


def test_a_flipped_byte_is_noticed(ngc: Ngc, blobs: BlobStore) -> None:
    ngc.faults.flips["sub/model.onnx"] = 500
    with pytest.raises(VerificationError, match=r"model\.onnx"):
        fetch(ngc, blobs)
    assert hashlib.sha256(WEIGHTS).hexdigest() not in set(blobs)


@pytest.mark.parametrize("key", [None, LEGACY, PERSONAL])
def test_a_version_whose_lists_are_refused_comes_file_by_file(
    encrypted: Ngc, blobs: BlobStore, key: str | None
) -> None:
    files = with_checksums(FILES)
    encrypted.models["acme", "vision", "detector"].add("2.0.0", files)
    encrypted.refuses_lists = True
    assert content(blobs, fetch(encrypted, blobs, key)) == files
    assert all("authorization" not in one.headers for one in encrypted.requests_to("blob"))


@pytest.mark.parametrize("refuses_lists", [True, False])
def test_the_blake3_of_a_version_s_own_list_is_verified(
    encrypted: Ngc,
    blobs: BlobStore,
    refuses_lists: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    files = with_checksums(FILES)
    encrypted.models["acme", "vision", "detector"].add("2.0.0", files, sha256=False)
    encrypted.refuses_lists = refuses_lists
    fetched = fetch(encrypted, blobs)
    assert content(blobs, fetched) == files
    with registry(encrypted.url, encrypted.ca_file, None) as one:
        stated = {file.path: file.digests for file in one.resolve(REF).files}
    # The first of BLAKE3's own test vectors.
    empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert stated["empty.txt"] == {"blake3": empty}

    encrypted.faults.flips["config.json"] = 1
    blobs.remove(fetched["config.json"].sha256)
    with pytest.raises(VerificationError, match=r"config\.json"):
        fetch(encrypted, blobs)


def test_a_version_whose_lists_are_refused_and_that_has_none_of_its_own_is_refused(
    encrypted: Ngc, blobs: BlobStore
) -> None:
    encrypted.refuses_lists = True
    with pytest.raises(NetworkError) as caught:
        fetch(encrypted, blobs, PERSONAL)
    assert "Org contex missing" in str(caught.value.cause)
    assert "1.0.0?file=" in str(caught.value.hint)


def test_files_that_are_named_come_though_no_list_has_them(
    encrypted: Ngc, blobs: BlobStore
) -> None:
    encrypted.refuses_lists = True
    named = ModelRef.parse(f"{REF}:1.0.0?file=config.json&file=sub/model.onnx")
    with registry(encrypted.url, encrypted.ca_file, None) as one:
        files = one.resolve(named).files
        fetched = transfer(blobs, encrypted.ca_file).fetch(files, one.locate, lambda _: None)
        assert content(blobs, {file.path: file for file in fetched}) == {
            path: FILES[path] for path in named.files
        }
        absent = one.resolve(ModelRef.parse(f"{REF}:1.0.0?file=absent.json")).files
        with pytest.raises(NotFoundError, match=r"absent\.json"):
            transfer(blobs, encrypted.ca_file).fetch(absent, one.locate, lambda _: None)


def test_files_that_are_named_come_beside_those_of_the_list(
    encrypted: Ngc, blobs: BlobStore
) -> None:
    listed = with_checksums({"config.json": FILES["config.json"]})
    encrypted.models["acme", "vision", "detector"].add("3.0.0", {**FILES, **listed})
    encrypted.refuses_lists = True
    named = ModelRef.parse(f"{REF}:3.0.0?file=config.json&file=empty.txt")
    with registry(encrypted.url, encrypted.ca_file, None) as one:
        files = {file.path: file for file in one.resolve(named).files}
        fetched = transfer(blobs, encrypted.ca_file).fetch(
            [*files.values()], one.locate, lambda _: None
        )
    assert {path: sorted(file.digests) for path, file in files.items()} == {
        "config.json": ["blake3"],
        "empty.txt": [],
    }
    assert [one.path for one in fetched] == ["config.json", "empty.txt"]


def test_a_list_of_checksums_that_is_none_is_a_network_error(
    encrypted: Ngc, blobs: BlobStore
) -> None:
    files = {**FILES, "checksums.blake3": b"<html>please log in</html>"}
    encrypted.models["acme", "vision", "detector"].add("2.0.0", files)
    encrypted.refuses_lists = True
    with pytest.raises(NetworkError, match="does not answer as NGC does"):
        fetch(encrypted, blobs)


def test_an_expired_token_is_renewed_where_the_api_redirects(
    encrypted: Ngc, blobs: BlobStore
) -> None:
    encrypted.faults.statuses["urls"] = [404] * 9
    with registry(encrypted.url, encrypted.ca_file, LEGACY) as one:
        files = one.resolve(REF).files
        one.locate(files[0])
        encrypted.tokens.clear()
        fetched = transfer(blobs, encrypted.ca_file).fetch(files, one.locate, lambda _: None)
    assert content(blobs, {file.path: file for file in fetched}) == FILES


@pytest.mark.parametrize("key", [None, PERSONAL])
def test_the_older_storage_gives_urls_and_digests_in_its_list_of_files(
    ngc: Ngc, blobs: BlobStore, key: str | None
) -> None:
    ngc.storage = "V1"
    ngc.page_size = 2
    ngc.signature_uses = 1
    ngc.faults.cuts["sub/model.onnx"] = [1000]
    assert content(blobs, fetch(ngc, blobs, key)) == FILES
    with registry(ngc.url, ngc.ca_file, key) as one:
        assert all(file.sha256 for file in one.resolve(REF).files)


def test_a_file_without_a_digest_is_taken_as_it_comes(ngc: Ngc, blobs: BlobStore) -> None:
    ngc.models["acme", "vision", "detector"].add("3", FILES, sha256=False)
    assert content(blobs, fetch(ngc, blobs)) == FILES


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://10.0.0.1/a", "ftp://10.0.0.1/a"])
def test_a_location_that_leads_out_of_https_is_refused(
    ngc: Ngc, blobs: BlobStore, url: str
) -> None:
    ngc.blob_url = url.removesuffix("/a")
    with pytest.raises(NetworkError, match=r"unencrypted|neither"):
        fetch(ngc, blobs)
    assert list(blobs) == []


def test_a_download_that_was_killed_goes_on_where_it_stopped(
    ngc: Ngc, blobs: BlobStore, tmp_path: Path
) -> None:
    # One range stops arriving; the others are written down.
    ngc.faults.stalls["sub/model.onnx"] = 10_000
    command = [sys.executable, "-c", DRIVER, ngc.url, ngc.ca_file, str(tmp_path / "nimctl")]
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    process = subprocess.Popen(command, env={"PYTHONPATH": path, "PATH": os.environ["PATH"]})
    try:
        while process.poll() is None and not _has_pieces(tmp_path / "nimctl"):
            time.sleep(0.01)
        assert process.poll() is None, "the download ended before it was killed"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    fetched = fetch(ngc, blobs)
    assert content(blobs, fetched) == FILES
    weights = fetched["sub/model.onnx"]
    assert weights.bytes_reused > 0
    assert weights.bytes_fetched + weights.bytes_reused == len(WEIGHTS)


def _has_pieces(home: Path) -> bool:
    """Whether the state of an unfinished transfer names bytes that are there."""
    for path in home.rglob("*.state"):
        try:
            if json.loads(path.read_bytes())["pieces"]:
                return True
        except (FileNotFoundError, json.JSONDecodeError):
            continue
    return False
