"""The Hugging Face registry against the stand-in Hub."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub import Hub, git_sha1

from nimctl.core.errors import (
    AuthError,
    NetworkError,
    NimctlError,
    NotFoundError,
    UsageError,
    VerificationError,
)
from nimctl.core.http import HttpOptions
from nimctl.core.refs import ModelRef
from nimctl.registries.huggingface import HubCache, HuggingFaceRegistry

WEIGHTS = bytes(range(256)) * 40
FILES = {
    "config.json": b"{}",
    "model.safetensors": WEIGHTS,
    "onnx/a b.bin": b"\x01" * 50,
    "onnx/config.json": b"[]",
}
QUICK = HttpOptions(attempts=2, pause_s=0.0)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        repository = hub.add("acme/tiny", {"config.json": b"old"})
        repository.tags["v1.0"] = repository.branches["main"]
        repository.commit(FILES)
        hub.add("acme/gated", FILES, gated="manual")
        hub.add("acme/secret", FILES, private=True)
        hub.grants = {"hf_member": {"acme/gated", "acme/secret"}, "hf_stranger": set()}
        yield hub


def registry(hub: Hub, token: str | None = None, cache: Path | None = None) -> HuggingFaceRegistry:
    return HuggingFaceRegistry(hub.endpoint, token, HubCache(cache), QUICK)


def failure(one: HuggingFaceRegistry, text: str) -> NimctlError:
    with pytest.raises(NimctlError) as caught:
        one.resolve(ModelRef.parse(text))
    return caught.value


def test_a_branch_is_pinned_to_its_commit_with_the_size_and_digest_of_each_file(hub: Hub) -> None:
    artifact = registry(hub).resolve(ModelRef.parse("hf://acme/tiny"))
    commit = hub.repositories["acme/tiny"].branches["main"]
    assert artifact.reference == "hf://acme/tiny"
    assert artifact.revision == commit
    files = {file.path: file for file in artifact.files}
    assert {path: file.size for path, file in files.items()} == {
        path: len(data) for path, data in FILES.items()
    }
    weights = files["model.safetensors"]
    assert weights.digests == {"sha256": hashlib.sha256(WEIGHTS).hexdigest()}
    assert weights.etag == weights.sha256
    assert files["config.json"].digests == {"git-sha1": git_sha1(b"{}")}
    assert files["onnx/a b.bin"].url == f"{hub.endpoint}/acme/tiny/resolve/{commit}/onnx/a%20b.bin"


def test_a_tag_and_a_commit_name_what_they_named_when_they_were_made(hub: Hub) -> None:
    commit = hub.repositories["acme/tiny"].tags["v1.0"]
    for revision in ("v1.0", commit):
        artifact = registry(hub).resolve(ModelRef.parse(f"hf://acme/tiny@{revision}"))
        assert artifact.revision == commit
        assert [file.digests["git-sha1"] for file in artifact.files] == [git_sha1(b"old")]


def test_a_listing_of_many_pages_is_read_to_its_end(hub: Hub) -> None:
    hub.page_size = 1
    artifact = registry(hub).resolve(ModelRef.parse("hf://acme/tiny"))
    assert {file.path for file in artifact.files} == set(FILES)


@pytest.mark.parametrize(
    ("globs", "paths"),
    [
        ("*.safetensors", {"model.safetensors"}),
        ("config.json", {"config.json", "onnx/config.json"}),
        ("onnx/*", {"onnx/a b.bin", "onnx/config.json"}),
        ("*.bin,model*", {"onnx/a b.bin", "model.safetensors"}),
    ],
)
def test_include_takes_the_files_whose_path_or_name_matches(
    hub: Hub, globs: str, paths: set[str]
) -> None:
    artifact = registry(hub).resolve(ModelRef.parse(f"hf://acme/tiny?include={globs}"))
    assert {file.path for file in artifact.files} == paths


def test_include_that_matches_nothing_is_answered_with_the_files_there_are(hub: Hub) -> None:
    error = failure(registry(hub), "hf://acme/tiny?include=*.gguf")
    assert isinstance(error, NotFoundError)
    assert "*.gguf" in error.message
    assert all(path in str(error.cause) for path in FILES)


def test_a_repository_that_was_renamed_is_found_under_its_old_name(hub: Hub) -> None:
    hub.renamed["acme/old-name"] = "acme/tiny"
    artifact = registry(hub).resolve(ModelRef.parse("hf://acme/old-name"))
    assert {file.path for file in artifact.files} == set(FILES)


def test_the_library_asks_only_what_is_needed_and_tells_nobody_who_asks(
    hub: Hub, tmp_path: Path
) -> None:
    # In a process of its own: the library reads HF_ENDPOINT, and who runs it, once.
    code = (
        "from nimctl.core.refs import ModelRef\n"
        "from nimctl.registries.huggingface import HuggingFaceRegistry\n"
        f"HuggingFaceRegistry({hub.endpoint!r}).resolve(ModelRef.parse('hf://acme/tiny'))"
    )
    environ = {"HOME": str(tmp_path), "HF_ENDPOINT": hub.endpoint, "AI_AGENT": "somebody"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
    commit = hub.repositories["acme/tiny"].branches["main"]
    assert [one.path.partition("?")[0] for one in hub.seen] == [
        "/api/models/acme/tiny",
        f"/api/models/acme/tiny/tree/{commit}",
    ]
    assert all("agent" not in one.headers["user-agent"] for one in hub.seen)
    assert all("authorization" not in one.headers for one in hub.seen)


@pytest.mark.parametrize("token", [None, "hf_stranger"])
@pytest.mark.parametrize("name", ["acme/secret", "acme/absent"])
def test_a_private_repository_and_an_absent_one_look_the_same(
    hub: Hub, name: str, token: str | None
) -> None:
    error = failure(registry(hub, token), f"hf://{name}")
    assert isinstance(error, NotFoundError)
    assert "private" in error.message
    assert "HF_TOKEN" in str(error.hint)


def test_a_token_opens_private_and_gated_repositories(hub: Hub) -> None:
    for name in ("acme/secret", "acme/gated"):
        artifact = registry(hub, "hf_member").resolve(ModelRef.parse(f"hf://{name}"))
        assert len(artifact.files) == len(FILES)


@pytest.mark.parametrize("token", [None, "hf_stranger"])
def test_a_gated_repository_is_refused_before_the_first_byte_with_the_page_to_open(
    hub: Hub, token: str | None
) -> None:
    error = failure(registry(hub, token), "hf://acme/gated")
    assert isinstance(error, AuthError)
    assert f"{hub.endpoint}/acme/gated" in str(error.hint)
    assert ("HF_TOKEN" in str(error.hint)) == (token is None)


def test_a_wrong_token_is_told_from_a_missing_repository_and_never_shown(hub: Hub) -> None:
    error = failure(registry(hub, "hf_wrong"), "hf://acme/tiny")
    assert isinstance(error, AuthError)
    assert "hf_wrong" not in f"{error.message} {error.cause} {error.hint}"
    assert "HF_TOKEN" in str(error.hint)


def test_a_token_that_no_header_can_carry_is_refused_without_a_request(hub: Hub) -> None:
    error = failure(registry(hub, "hf_member\nX-Evil: 1"), "hf://acme/tiny")
    assert isinstance(error, AuthError)
    assert "Evil" not in f"{error.message} {error.cause} {error.hint}"
    assert hub.seen == []


def test_an_unknown_revision_is_answered_with_the_nearest_names(hub: Hub) -> None:
    error = failure(registry(hub), "hf://acme/tiny@v1")
    assert isinstance(error, NotFoundError)
    assert "v1.0" in str(error.cause)
    far = failure(registry(hub), "hf://acme/tiny@zzz")
    assert "main" in str(far.cause)
    assert "v1.0" in str(far.cause)


def test_a_name_that_no_repository_can_have_is_a_usage_error(hub: Hub) -> None:
    assert isinstance(failure(registry(hub), "hf://acme/a--b"), UsageError)


def test_a_hub_that_is_busy_is_asked_again(hub: Hub) -> None:
    hub.faults.statuses["api"] = [429, 503]
    hub.faults.retry_after = "0"
    patient = HuggingFaceRegistry(hub.endpoint, http=HttpOptions(attempts=3, pause_s=0.0))
    assert patient.resolve(ModelRef.parse("hf://acme/tiny")).files


def test_a_hub_that_stays_down_is_a_network_error(hub: Hub) -> None:
    hub.faults.statuses["api"] = [503] * 10
    error = failure(registry(hub), "hf://acme/tiny")
    assert isinstance(error, NetworkError)
    assert "503" in error.message
    assert len(hub.seen) == QUICK.attempts


def test_a_hub_that_cannot_be_reached_is_a_network_error() -> None:
    with Hub() as closed:
        endpoint = closed.endpoint
    error = failure(HuggingFaceRegistry(endpoint, http=QUICK), "hf://acme/tiny")
    assert isinstance(error, NetworkError)
    assert "127.0.0.1" in error.message


def test_a_server_that_is_no_hub_is_a_network_error(hub: Hub) -> None:
    hub.faults.statuses["api"] = [200]  # with a body that is not what the API sends
    error = failure(registry(hub), "hf://acme/tiny")
    assert isinstance(error, NetworkError)
    assert "HF_ENDPOINT" in str(error.hint)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a\\b", "a/CON.json", "c:x"])
def test_a_hostile_file_name_is_refused(hub: Hub, path: str) -> None:
    hub.add("acme/hostile", {**FILES, path: b"x"})
    error = failure(registry(hub), "hf://acme/hostile")
    assert isinstance(error, VerificationError)
    assert repr(path) in error.message
    assert registry(hub).resolve(ModelRef.parse("hf://acme/hostile?include=*.safetensors")).files


def test_the_token_goes_to_the_endpoint_and_nowhere_else(hub: Hub) -> None:
    one = registry(hub, "hf_member")
    file = one.resolve(ModelRef.parse("hf://acme/gated")).files[0]
    assert one.locate(file).headers == {"Authorization": "Bearer hf_member"}
    elsewhere = HuggingFaceRegistry("https://huggingface.co", "hf_member")
    assert elsewhere.locate(file).headers == {}
    assert registry(hub).locate(file).headers == {}


def test_a_file_in_the_users_cache_is_located_there_if_it_has_the_right_size(
    hub: Hub, tmp_path: Path
) -> None:
    one = registry(hub, cache=tmp_path)
    files = {file.path: file for file in one.resolve(ModelRef.parse("hf://acme/tiny")).files}
    weights, config = files["model.safetensors"], files["config.json"]
    blobs = tmp_path / "models--acme--tiny" / "blobs"
    blobs.mkdir(parents=True)
    shared = tmp_path / "blobs"
    shared.write_bytes(WEIGHTS)
    (blobs / hashlib.sha256(WEIGHTS).hexdigest()).symlink_to(os.path.relpath(shared, blobs))
    (blobs / git_sha1(b"{}")).write_bytes(b"{} and more")
    assert (one.locate(weights).cached or "").startswith(tmp_path.as_uri())
    assert one.locate(config).cached is None
    shutil.rmtree(blobs)
    assert one.locate(weights).cached is None
