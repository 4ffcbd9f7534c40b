"""Other people's tools, unmodified: the ORAS client pushes, skopeo copies, nimctl pulls."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from oras_client import oras_push
from registry_daemon import PASSWORD, USER, Layer, Pusher, RegistryDaemon

from nimctl.core.http import HttpOptions
from nimctl.core.layout import Layout
from nimctl.core.refs import ModelRef
from nimctl.http import Client
from nimctl.registries.oci import (
    DockerCredentials,
    ModelDescription,
    ModelFile,
    OciPublisher,
    OciRegistry,
)
from nimctl.store.blobs import BlobStore
from nimctl.store.transfer import Transfer, TransferOptions

HTTP = HttpOptions(attempts=1)
DOCKER = "application/vnd.docker.ai."
FILES = {"model.safetensors": bytes(range(256)) * 9000, "sub/config.json": b"{}"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryDaemon]:
    with RegistryDaemon(tmp_path_factory.mktemp("registry")) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryDaemon]:
    with RegistryDaemon.with_password(tmp_path_factory.mktemp("locked")) as daemon:
        yield daemon


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(HTTP) as client:
        yield client


def pull(registry: OciRegistry, ref: str, home: Path) -> dict[str, bytes]:
    blobs = BlobStore(Layout(home=str(home / "nimctl")))
    files = registry.resolve(ModelRef.parse(ref)).files
    fetched = Transfer(blobs, TransferOptions()).fetch(files, registry.locate, lambda _: None)
    return {one.path: blobs.path(one.sha256).read_bytes() for one in fetched}


def skopeo_copy(home: Path, *argv: str, source: str, target: str) -> None:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("there is no skopeo: apt-get install skopeo")
    command = [skopeo, "--insecure-policy", "copy", *argv]
    plain = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    subprocess.run(
        [*command, *plain, source, target],
        check=True,
        capture_output=True,
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
    )


def test_what_oras_pushes_arrives_byte_equal(
    daemon: RegistryDaemon, client: Client, oras: str, tmp_path: Path
) -> None:
    weights, notes = tmp_path / "weights.bin", tmp_path / "notes.txt"
    weights.write_bytes(FILES["model.safetensors"])
    notes.write_text("hello")
    packed = tmp_path / "tokenizer"
    packed.mkdir()
    (packed / "vocab.json").write_text("{}")
    files = [f"{weights}:application/x-weights", str(notes), str(packed)]
    oras_push(oras, daemon, "oras/tiny:v1", files, "", "")

    registry = OciRegistry(client, DockerCredentials())
    content = pull(registry, f"oci://{daemon.host}/oras/tiny:v1", tmp_path)
    assert list(content) == ["weights.bin", "notes.txt", "tokenizer.tar.gz"]
    assert content["weights.bin"] == FILES["model.safetensors"]
    assert content["notes.txt"] == b"hello"
    assert content["tokenizer.tar.gz"].startswith(b"\x1f\x8b")


def test_what_oras_pushes_behind_a_password_arrives_with_a_helper_s_login(
    locked: RegistryDaemon, client: Client, oras: str, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"w" * 1000)
    oras_push(oras, locked, "oras/tiny:v1", [str(weights)], USER, PASSWORD)

    helper = tmp_path / "docker-credential-notes"
    secret = json.dumps({"ServerURL": locked.host, "Username": USER, "Secret": PASSWORD})
    asked = f"[ \"$1\" = get ] && grep -qx '{locked.host}'"
    helper.write_text(f"#!/bin/sh\n{asked} && echo '{secret}'\n")
    helper.chmod(0o755)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"credHelpers": {locked.host: "notes"}}))
    credentials = DockerCredentials([config], helper_path=f"{tmp_path}:{os.environ['PATH']}")
    content = pull(OciRegistry(client, credentials), f"oci://{locked.host}/oras/tiny:v1", tmp_path)
    assert content == {"weights.bin": b"w" * 1000}


def test_what_nimctl_pushes_survives_a_round_trip_through_skopeo(
    daemon: RegistryDaemon, client: Client, tmp_path: Path
) -> None:
    files = []
    for path, data in FILES.items():
        source = tmp_path / Path(path).name
        source.write_bytes(data)
        files.append(ModelFile(path, source, hashlib.sha256(data).hexdigest(), len(data)))
    publisher = OciPublisher(client, HTTP, DockerCredentials())
    ours = ModelRef.parse(f"oci://{daemon.host}/trip/ours:v1")
    digest = publisher.push(files, ours, ModelDescription(), lambda _: None)

    layout = f"oci:{tmp_path}/layout:v1"
    skopeo_copy(tmp_path, source=f"docker://{daemon.host}/trip/ours:v1", target=layout)
    skopeo_copy(tmp_path, source=layout, target=f"docker://{daemon.host}/trip/back:v1")
    registry = OciRegistry(client, DockerCredentials())
    back = f"oci://{daemon.host}/trip/back:v1"
    assert registry.resolve(ModelRef.parse(back)).revision == digest
    assert pull(registry, back, tmp_path) == FILES


@pytest.mark.parametrize(
    ("name", "config", "layer", "expected"),
    [
        (
            "docker",
            f"{DOCKER}model.config.v0.1+json",
            Layer(f"{DOCKER}gguf.v3", b"GGUF"),
            "model.gguf",
        ),
        (
            "kit",
            "application/vnd.kitops.modelkit.config.v1+json",
            Layer("application/vnd.kitops.modelkit.model.v1.tar", b"tar"),
            "model.tar",
        ),
    ],
)
def test_other_kinds_of_artifact_survive_it_too(
    daemon: RegistryDaemon,
    client: Client,
    tmp_path: Path,
    name: str,
    config: str,
    layer: Layer,
    expected: str,
) -> None:
    Pusher(daemon).artifact(f"trip/{name}", [layer], config=Layer(config, b"{}"))
    layout = f"oci:{tmp_path}/layout:latest"
    skopeo_copy(tmp_path, source=f"docker://{daemon.host}/trip/{name}:latest", target=layout)
    skopeo_copy(tmp_path, source=layout, target=f"docker://{daemon.host}/trip/{name}-back:latest")
    registry = OciRegistry(client, DockerCredentials())
    content = pull(registry, f"oci://{daemon.host}/trip/{name}-back", tmp_path)
    assert content == {expected: layer.data}


def test_nimctl_uses_the_login_that_skopeo_keeps(
    locked: RegistryDaemon, client: Client, tmp_path: Path
) -> None:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("there is no skopeo: apt-get install skopeo")
    auth = tmp_path / "auth.json"
    login = [skopeo, "login", "--tls-verify=false", "--authfile", str(auth)]
    subprocess.run(
        [*login, "--username", USER, "--password-stdin", locked.host],
        input=PASSWORD.encode(),
        check=True,
        capture_output=True,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
    )
    data = b"w" * 10
    (tmp_path / "w").write_bytes(data)
    file = ModelFile("w.bin", tmp_path / "w", hashlib.sha256(data).hexdigest(), len(data))
    credentials = DockerCredentials([auth])
    ref = f"oci://{locked.host}/kept/login:v1"
    publisher = OciPublisher(client, HTTP, credentials)
    publisher.push([file], ModelRef.parse(ref), ModelDescription(), lambda _: None)
    assert pull(OciRegistry(client, credentials), ref, tmp_path) == {"w.bin": data}
