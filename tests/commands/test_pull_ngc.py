"""`pull` and `versions` of ngc:// against the stand-in that the real ngcsdk accepts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Run, words
from ngc import Ngc
from transfers import blake3_of, sha256_of

KEY = "nvapi-personal"
FILES = {"config.json": b"{}", "model.gguf": bytes(range(256)) * 4000}


@pytest.fixture
def ngc(tmp_path: Path, environ: dict[str, str]) -> Iterator[Ngc]:
    with Ngc(tmp_path, encrypted_blobs=True) as standin:
        model = standin.add("acme/vision/detector", is_public=True)
        model.add("0.11.1+ba20956e-h100x1-fp8-latency.1.1.0.1", FILES)
        model.add("1.0.0", FILES)
        standin.add("acme/vision/secret").add("1.0.0", FILES)
        standin.keys = {KEY: {"acme"}}
        environ |= {
            "NGC_CLI_API_URL": standin.url,
            "NGC_CLI_AUTH_URL": standin.url,
            "SSL_CERT_FILE": standin.ca_file,
        }
        yield standin


@pytest.mark.usefixtures("ngc")
def test_a_guest_pulls_a_public_model(run: Run) -> None:
    report = run("pull", "ngc://acme/vision/detector:1.0.0", "--json")
    assert report.code == 0, report
    contents = {one["name"]: Path(one["path"]).read_bytes() for one in report.json["files"]}
    assert contents == FILES
    narrowed = run("pull", "ngc://acme/vision/detector:1.0.0", "--include", "*.json", "--json")
    assert [one["name"] for one in narrowed.json["files"]] == ["config.json"]
    without = run("pull", "ngc://acme/vision/detector:1.0.0", "--exclude", "*.json", "--json")
    assert [one["name"] for one in without.json["files"]] == ["model.gguf"]


@pytest.mark.usefixtures("ngc")
def test_a_key_opens_what_is_private_and_is_never_shown(run: Run, environ: dict[str, str]) -> None:
    assert run("pull", "ngc://acme/vision/secret").code in (3, 4)
    environ["NGC_API_KEY"] = KEY
    result = run("pull", "ngc://acme/vision/secret", "--json", "--progress", "json")
    assert result.code == 0, result
    assert KEY not in result.out + result.err
    environ["NGC_API_KEY"] = "nvapi-wrong"
    wrong = run("pull", "ngc://acme/vision/secret")
    assert wrong.code == 4
    assert "nvapi-wrong" not in wrong.err


def test_a_file_with_a_wrong_blake3_is_named_and_one_with_the_right_is_pinned(
    ngc: Ngc, run: Run
) -> None:
    lines = "".join(f"{blake3_of(data)}  {path}\n" for path, data in FILES.items())
    files = {**FILES, "checksums.blake3": lines.encode()}
    ngc.models["acme", "vision", "detector"].add("2.0.0", files, sha256=False)
    reference = "ngc://acme/vision/detector:2.0.0"
    ngc.faults.flips["model.gguf"] = 77
    wrong = run("pull", reference)
    assert wrong.code == 6
    words(wrong, "model.gguf", "blake3")

    ngc.faults.flips.clear()
    assert run("pull", reference).code == 0
    again = run("pull", reference, "--json")
    assert again.json["bytes_fetched"] == 0
    pinned = {one["name"]: one["sha256"] for one in again.json["files"]}
    assert pinned == {path: sha256_of(data) for path, data in files.items()}
    offline = run("pull", reference, "--offline")
    assert offline.code == 0, offline


@pytest.mark.usefixtures("ngc")
def test_versions_are_listed_with_gpu_precision_size_and_fit(run: Run) -> None:
    lines = run("versions", "ngc://acme/vision/detector").out.splitlines()
    assert lines[0].split() == ["VERSION", "GPU", "PREC", "SIZE", "CREATED", "FITS"]
    assert lines[1].split()[0] == "1.0.0"
    # Too long for a line with the rest, so it has one of its own.
    assert lines[2] == "0.11.1+ba20956e-h100x1-fp8-latency.1.1.0.1"
    assert lines[3].split() == ["1x", "H100", "fp8", "1000.0", "KiB", "2024-01-19", "no"]
    assert lines[3].index("1x") == lines[0].index("GPU")
    assert max(map(len, lines)) <= 80
    chosen = run("versions", "ngc://acme/vision/detector:0.*", "--json").json["versions"]
    assert [one["version"]["gpu"] for one in chosen] == ["H100"]
    assert [one["fits"] for one in chosen] == [False]
    assert chosen[0]["version"]["size_bytes"] == sum(map(len, FILES.values()))


@pytest.mark.usefixtures("ngc")
def test_a_version_that_is_not_there_names_those_that_are(run: Run) -> None:
    result = run("pull", "ngc://acme/vision/detector:1.0.1")
    assert result.code == 3
    words(result, "1.0.0")


@pytest.mark.usefixtures("ngc")
def test_a_glob_that_matches_no_version_is_told(run: Run) -> None:
    result = run("versions", "ngc://acme/vision/detector:*b200*")
    assert result.code == 3
    words(result, "matches *b200*", "nimctl versions ngc://acme/vision/detector\n")


def test_versions_of_another_registry_are_refused(run: Run) -> None:
    result = run("versions", "hf://org/repo")
    assert result.code == 2
    words(result, "ngc://")
