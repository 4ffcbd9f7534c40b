"""The NGC registry against the stand-in: references, versions, refusals."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ngc import Ngc

from nimctl.core.errors import (
    AuthError,
    NetworkError,
    NimctlError,
    NotFoundError,
    UsageError,
    VerificationError,
)
from nimctl.core.http import HttpOptions
from nimctl.core.ngc import ModelVersion, credential
from nimctl.core.refs import ModelRef
from nimctl.http import Client
from nimctl.registries.ngc.registry import NgcRegistry

WEIGHTS = bytes(range(256)) * 40
FILES = {"config.json": b"{}", "model.onnx": WEIGHTS, "sub/a b.txt": b"", "sub/config.json": b"[]"}
EARLY = "LLAMA-2-7B-4K-FP16-1-A100.24.01"
LEGACY, PERSONAL = "bGVnYWN5LWtleQ", "nvapi-personal"
KEYS = (None, LEGACY, PERSONAL)


@pytest.fixture
def ngc(tmp_path: Path) -> Iterator[Ngc]:
    with Ngc(tmp_path) as ngc:
        detector = ngc.add("acme/vision/detector", is_public=True)
        detector.add("0.9", {"model.onnx": b"old"})
        detector.add("1.0.0", FILES)
        ngc.add("acme/llama-2-7b").add(EARLY, {f"{EARLY}.tar.gz": b"tar"})
        ngc.add("other/secret").add("1", FILES)
        ngc.keys = {LEGACY: {"acme"}, PERSONAL: {"acme"}}
        yield ngc


class Registries:
    """Makes registries that ask the stand-in."""

    def __init__(self, ngc: Ngc, client: Client) -> None:
        self._ngc, self._client = ngc, client

    def __call__(self, key: str | None = None, url: str | None = None) -> NgcRegistry:
        url = url or self._ngc.url
        return NgcRegistry(self._client, url, url, credential(key))

    def failure(self, text: str, key: str | None = None) -> NimctlError:
        with pytest.raises(NimctlError) as caught:
            self(key).resolve(ModelRef.parse(text))
        error = caught.value
        said = f"{error.message} {error.cause} {error.hint}"
        assert not key or key not in said
        assert "token-" not in said
        return error


@pytest.fixture
def registry(ngc: Ngc) -> Iterator[Registries]:
    with Client(HttpOptions(ca_file=ngc.ca_file, attempts=2, pause_s=0.0)) as client:
        yield Registries(ngc, client)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("revision", ["", ":latest", ":1.0.0"])
def test_a_reference_is_pinned_to_one_version_with_size_and_digest_of_each_file(
    ngc: Ngc, registry: Registries, key: str | None, revision: str
) -> None:
    reference = f"ngc://acme/vision/detector{revision}"
    artifact = registry(key).resolve(ModelRef.parse(reference))
    assert (artifact.reference, artifact.revision) == (reference, "1.0.0")
    assert {file.path: file.size for file in artifact.files} == {
        path: len(data) for path, data in FILES.items()
    }
    assert {file.path: file.sha256 for file in artifact.files} == {
        path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()
    }
    base = f"{ngc.url}/v2/org/acme/team/vision/models/detector/versions/1.0.0/files"
    assert artifact.files[2].url == f"{base}/sub/a%20b.txt"


def test_an_older_version_and_a_model_without_a_team_are_found(registry: Registries) -> None:
    old = registry().resolve(ModelRef.parse("ngc://acme/vision/detector:0.9"))
    assert [file.size for file in old.files] == [3]
    early = registry(PERSONAL).resolve(ModelRef.parse(f"ngc://acme/llama-2-7b:{EARLY}"))
    assert [file.path for file in early.files] == [f"{EARLY}.tar.gz"]


@pytest.mark.parametrize("key", KEYS)
def test_a_label_is_pinned_to_the_version_that_it_names(
    ngc: Ngc, registry: Registries, key: str | None
) -> None:
    ngc.models["acme", "vision", "detector"].labels["stable"] = "0.9"
    artifact = registry(key).resolve(ModelRef.parse("ngc://acme/vision/detector:stable"))
    assert artifact.revision == "0.9"
    assert "/versions/0.9/files/model.onnx" in artifact.files[0].url


@pytest.mark.parametrize("first_page", [0, 1])
@pytest.mark.parametrize("page_size", [1, 2, 3, 4])
def test_a_listing_of_many_pages_is_read_to_its_end_wherever_the_count_begins(
    ngc: Ngc, registry: Registries, first_page: int, page_size: int
) -> None:
    ngc.first_page, ngc.page_size = first_page, page_size
    artifact = registry().resolve(ModelRef.parse("ngc://acme/vision/detector"))
    assert [file.path for file in artifact.files] == list(FILES)
    assert len(registry().versions(ModelRef.parse("ngc://acme/vision/detector"))) == 2


@pytest.mark.parametrize(
    ("globs", "paths"),
    [
        ("*.onnx", {"model.onnx"}),
        ("config.json", {"config.json", "sub/config.json"}),
        ("sub/*", {"sub/a b.txt", "sub/config.json"}),
    ],
)
def test_include_takes_the_files_whose_path_or_name_matches(
    registry: Registries, globs: str, paths: set[str]
) -> None:
    ref = ModelRef.parse(f"ngc://acme/vision/detector?include={globs}")
    assert {file.path for file in registry().resolve(ref).files} == paths


def test_include_that_matches_nothing_is_answered_with_the_files_there_are(
    registry: Registries,
) -> None:
    error = registry.failure("ngc://acme/vision/detector?include=*.gguf")
    assert isinstance(error, NotFoundError)
    assert all(path in str(error.cause) for path in FILES)


@pytest.mark.parametrize("key", KEYS)
def test_versions_tell_what_they_were_built_for_the_newest_first(
    ngc: Ngc, registry: Registries, key: str | None
) -> None:
    llama = ngc.add("acme/llama", is_public=True)
    llama.add("0.11.1+ba20956e-l40sx2-bf16-throughput.1.1.0", FILES)
    llama.add("8k", FILES, gpu_model="H100", status="UPLOAD_PENDING")
    plain, engine = registry(key).versions(ModelRef.parse("ngc://acme/llama"))
    created = datetime(2024, 1, 19, 22, 14, 33, tzinfo=UTC)
    size = sum(len(data) for data in FILES.values())
    assert engine == ModelVersion(
        version="0.11.1+ba20956e-l40sx2-bf16-throughput.1.1.0",
        status="UPLOAD_COMPLETE",
        created=created,
        size_bytes=size,
        files=len(FILES),
        gpu="L40S",
        gpu_count=2,
        precision="bf16",
        profile="throughput",
    )
    assert (plain.gpu, plain.precision, plain.status) == ("H100", "fp16", "UPLOAD_PENDING")


def test_early_access_versions_tell_gpu_count_and_precision(registry: Registries) -> None:
    [version] = registry(PERSONAL).versions(ModelRef.parse("ngc://acme/llama-2-7b"))
    assert (version.gpu, version.gpu_count, version.precision) == ("A100", 1, "fp16")


def test_versions_are_narrowed_by_a_glob(registry: Registries) -> None:
    ref = ModelRef(scheme="ngc", path="acme/vision/detector", revision="0.*")
    assert [version.version for version in registry().versions(ref)] == ["0.9"]


def test_versions_never_show_what_a_terminal_would_obey(ngc: Ngc, registry: Registries) -> None:
    detector = ngc.models["acme", "vision", "detector"]
    detector.add("\x1b[2J", FILES)
    detector.add("2", FILES, gpu_model="\x1b[2J")
    versions = registry().versions(ModelRef.parse("ngc://acme/vision/detector"))
    assert [version.version for version in versions] == ["2", "1.0.0", "0.9"]
    assert versions[0].gpu is None


@pytest.mark.parametrize("version", ["../../../v3/keys", "..", "\x1b[2J"])
def test_a_hostile_name_of_the_latest_version_is_refused(
    ngc: Ngc, registry: Registries, version: str
) -> None:
    ngc.models["acme", "vision", "detector"].add(version, FILES)
    assert isinstance(registry.failure("ngc://acme/vision/detector"), VerificationError)


def test_a_version_that_is_still_uploaded_is_refused(ngc: Ngc, registry: Registries) -> None:
    ngc.models["acme", "vision", "detector"].add("2", FILES, status="UPLOAD_PENDING")
    error = registry.failure("ngc://acme/vision/detector")
    assert isinstance(error, NotFoundError)
    assert "UPLOAD_PENDING" in str(error.cause)


def test_a_version_that_ngc_itself_calls_malicious_is_refused(
    ngc: Ngc, registry: Registries
) -> None:
    ngc.models["acme", "vision", "detector"].add("2", FILES, scan="MALICIOUS")
    error = registry.failure("ngc://acme/vision/detector")
    assert isinstance(error, VerificationError)


def test_an_unknown_version_is_answered_with_the_nearest_names(registry: Registries) -> None:
    error = registry.failure("ngc://acme/vision/detector:1.0", PERSONAL)
    assert isinstance(error, NotFoundError)
    assert "1.0.0" in str(error.cause)
    assert error.hint == "nimctl versions ngc://acme/vision/detector"
    far = registry.failure("ngc://acme/vision/detector:zzz", PERSONAL)
    assert "0.9" in str(far.cause)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("revision", ["", ":1.0.0"])
def test_an_unknown_model_is_answered_with_the_nearest_of_its_organisation(
    registry: Registries, key: str | None, revision: str
) -> None:
    error = registry.failure(f"ngc://acme/vision/detectr{revision}", key)
    assert isinstance(error, NotFoundError)
    assert "acme/vision/detector" in str(error.cause)
    assert "request-7" in str(error.cause)


def test_a_guest_is_told_how_to_get_at_a_private_model(registry: Registries) -> None:
    error = registry.failure("ngc://acme/llama-2-7b")
    assert isinstance(error, NotFoundError)
    assert "NGC_API_KEY" in str(error.hint)


def test_who_has_a_key_is_not_sent_to_what_does_not_exist(registry: Registries) -> None:
    error = registry.failure("ngc://acme/vision/detectr", PERSONAL)
    assert error.hint == "look for it at https://catalog.ngc.nvidia.com"


@pytest.mark.parametrize("key", ["d3Jvbmc", "nvapi-wrong"])
def test_a_wrong_key_is_an_auth_error_that_says_where_to_make_one(
    registry: Registries, key: str
) -> None:
    error = registry.failure("ngc://acme/vision/detector", key)
    assert isinstance(error, AuthError)
    assert error.message == "the NGC key is refused"
    assert "https://org.ngc.nvidia.com/setup/api-keys" in str(error.hint)
    assert "request-7" in str(error.cause)


def test_a_key_that_no_header_can_carry_is_refused_without_a_request(
    ngc: Ngc, registry: Registries
) -> None:
    error = registry.failure("ngc://acme/vision/detector", "nvapi-a\nX-Evil: 1")
    assert isinstance(error, AuthError)
    assert ngc.seen == []


def test_a_model_of_somebody_else_is_refused(registry: Registries) -> None:
    error = registry.failure("ngc://other/secret:1", PERSONAL)
    assert isinstance(error, AuthError)
    assert "may not read ngc://other/secret:1" in error.message


def test_a_missing_entitlement_is_told_from_a_wrong_key(ngc: Ngc, registry: Registries) -> None:
    ngc.models["acme", "vision", "detector"].refusal = 402
    error = registry.failure("ngc://acme/vision/detector", PERSONAL)
    assert isinstance(error, AuthError)
    assert "entitlement" in error.message
    assert "Subscription required." in str(error.cause)


def test_a_licence_that_waits_to_be_accepted_is_told_with_the_page_to_open(
    ngc: Ngc, registry: Registries
) -> None:
    ngc.models["acme", "vision", "detector"].needs_acceptance = True
    error = registry.failure("ngc://acme/vision/detector", PERSONAL)
    assert isinstance(error, AuthError)
    page = "https://catalog.ngc.nvidia.com/orgs/acme/teams/vision/models/detector?version=1.0.0"
    assert f"{page}," in str(error.hint)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a\\b", "CON.json", "c:x"])
def test_a_hostile_file_name_is_refused(ngc: Ngc, registry: Registries, path: str) -> None:
    ngc.models["acme", "vision", "detector"].add("2", {**FILES, path: b"x"})
    error = registry.failure("ngc://acme/vision/detector")
    assert isinstance(error, VerificationError)
    assert repr(path) in error.message
    ref = ModelRef.parse("ngc://acme/vision/detector?include=*.onnx")
    assert len(registry().resolve(ref).files) == 1


def test_an_api_that_is_busy_is_asked_again(ngc: Ngc, registry: Registries) -> None:
    ngc.faults.statuses["api"] = [503]
    assert registry().resolve(ModelRef.parse("ngc://acme/vision/detector")).files


@pytest.mark.parametrize("status", [200, 418, 503])
def test_an_api_that_answers_nonsense_is_a_network_error(
    ngc: Ngc, registry: Registries, status: int
) -> None:
    ngc.faults.statuses["api"] = [status] * 10
    error = registry.failure("ngc://acme/vision/detector")
    assert isinstance(error, NetworkError)


def test_an_api_that_is_not_encrypted_gets_no_request(registry: Registries) -> None:
    one = registry(PERSONAL, "http://ngc.example")
    with pytest.raises(UsageError, match="not encrypted"):
        one.resolve(ModelRef.parse("ngc://acme/vision/detector"))
