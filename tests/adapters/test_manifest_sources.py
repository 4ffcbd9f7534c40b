"""Manifests from files, streams and running servers."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from nim_manifests import SCHEMA_1, SCHEMA_2
from nim_server import NimServer

from nimctl.core.errors import NetworkError, NotFoundError, UsageError, VerificationError
from nimctl.core.http import HttpOptions
from nimctl.core.nim_manifest import ManifestSource
from nimctl.http import Client
from nimctl.manifests.sources import read_endpoint, read_file

NOTHING = io.BytesIO()


class Endless(io.BytesIO):
    """Gives as much as it is asked for, and counts it."""

    given = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size > 0
        self.given += size
        return b" " * size


@pytest.fixture
def http() -> Iterator[Client]:
    with Client(HttpOptions(attempts=1)) as client:
        yield client


def file(place: Path | str) -> ManifestSource:
    return ManifestSource(kind="file", place=str(place))


def endpoint(place: str) -> ManifestSource:
    return ManifestSource(kind="endpoint", place=place)


def test_a_named_pipe_is_refused_and_that_of_a_shell_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is a named pipe"):
        read_file(file(tmp_path / "pipe"), NOTHING)
    reader, writer = os.pipe()
    os.write(writer, SCHEMA_1.encode())
    os.close(writer)
    found = read_file(file(f"/dev/fd/{reader}"), NOTHING)
    os.close(reader)
    assert len(found.manifest.profiles) == 2


def test_a_file_and_stdin_are_read(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(SCHEMA_1)
    found = read_file(file(tmp_path / "m.yaml"), NOTHING)
    assert [profile.id for profile in found.manifest.profiles] == ["0a0a0a0a", "0b0b0b0b"]
    piped = read_file(file("-"), io.BytesIO(SCHEMA_1.encode()))
    assert piped.manifest == found.manifest


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"m\.yaml"):
        read_file(file(tmp_path / "m.yaml"), NOTHING)
    with pytest.raises(UsageError, match="cannot be read"):
        read_file(file(tmp_path), NOTHING)


def test_a_stream_without_end_is_not_read_to_it() -> None:
    endless = Endless()
    with pytest.raises(VerificationError) as caught:
        read_file(file("-"), endless)
    assert "16,777,216 bytes" in (caught.value.cause or "")
    assert endless.given < 17 * 2**20


@pytest.mark.parametrize("form", ["{}", "{}/", "{}/v1", "{}/v1/", "{}/v1/manifest"])
def test_a_running_server_is_asked_however_its_url_is_written(http: Client, form: str) -> None:
    answer = json.dumps({"manifest_file": SCHEMA_2}).encode()
    with NimServer({"/v1/manifest": answer}) as nim:
        found = read_endpoint(endpoint(form.format(nim.url)), http)
    assert found.manifest.schema == "2"
    assert found.source.place == form.format(nim.url)


def test_a_server_without_a_manifest_and_other_things_say_so(http: Client) -> None:
    with NimServer({}) as nim, pytest.raises(NotFoundError) as missing:
        read_endpoint(endpoint(nim.url), http)
    assert "model-free" in (missing.value.cause or "")
    for body in (b"<html>", b"{}", b'{"manifest_file": 1}', b"\xff"):
        with NimServer({"/v1/manifest": body}) as nim, pytest.raises(NetworkError):
            read_endpoint(endpoint(nim.url), http)
    broken = json.dumps({"manifest_file": "a: [1"}).encode()
    with NimServer({"/v1/manifest": broken}) as nim, pytest.raises(VerificationError):
        read_endpoint(endpoint(nim.url), http)
    with pytest.raises(NetworkError, match="cannot be reached"):
        read_endpoint(endpoint("http://127.0.0.1:1"), http)
    with pytest.raises(UsageError) as wrong:
        read_endpoint(endpoint("localhost:8000"), http)
    assert wrong.value.hint == "--endpoint http://localhost:8000"
