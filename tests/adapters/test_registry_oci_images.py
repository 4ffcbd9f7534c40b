"""Container images as their registry has them: pushed by a real Docker engine, asked by nimctl."""

import io
import json
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from registry_daemon import RegistryDaemon

from nimctl.core.errors import NotFoundError
from nimctl.core.http import HttpOptions
from nimctl.http import Client
from nimctl.registries.oci import DockerCredentials, OciRegistry

Make = Callable[[str], OciRegistry]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryDaemon]:
    with RegistryDaemon(tmp_path_factory.mktemp("registry")) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def pushed(daemon: RegistryDaemon) -> Iterator[str]:
    """An image of one small layer, pushed as single manifest."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("hello"), io.BytesIO())
    image = f"{daemon.host}/nim/meta/llama:1.8"
    docker("import", "-", image, data=packed.getvalue())
    docker("push", "--quiet", image)
    yield image
    docker("rmi", image)


def docker(*argv: str, data: bytes = b"") -> bytes:
    done = subprocess.run(["docker", *argv], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(HttpOptions(attempts=1)) as client:
        yield client


@pytest.fixture
def registry(client: Client) -> Callable[[str], OciRegistry]:
    """A registry as a machine of some architecture sees it."""

    def one(architecture: str) -> OciRegistry:
        return OciRegistry(client, DockerCredentials(), architecture=architecture)

    return one


def test_a_single_manifest_tells_its_architecture_in_its_configuration(
    pushed: str, registry: Make
) -> None:
    here = docker("version", "--format", "{{.Server.Arch}}").decode().strip()
    found = registry(here).image(pushed)
    assert found.architectures == (here,)
    assert found.size
    assert registry("riscv64").image(pushed).size is None


def test_an_index_tells_what_it_has_for_whom(
    pushed: str, daemon: RegistryDaemon, registry: Make, client: Client, tmp_path: Path
) -> None:
    copied = ["skopeo", "copy", "--src-tls-verify=false", f"docker://{pushed}", f"dir:{tmp_path}"]
    subprocess.run(copied, check=True, capture_output=True)
    manifest = (tmp_path / "manifest.json").read_bytes()
    digest = client.get(
        f"{daemon.url}/v2/nim/meta/llama/manifests/1.8",
        {"Accept": json.loads(manifest)["mediaType"]},
    ).headers["docker-content-digest"]
    entries = [
        {
            "mediaType": json.loads(manifest)["mediaType"],
            "digest": digest,
            "size": len(manifest),
            "platform": {"os": "linux", "architecture": architecture},
        }
        for architecture in ("arm64", "s390x")
    ]
    kind = "application/vnd.docker.distribution.manifest.list.v2+json"
    index = {"schemaVersion": 2, "mediaType": kind, "manifests": entries}
    put(f"{daemon.url}/v2/nim/meta/llama/manifests/multi", json.dumps(index).encode(), kind)
    image = f"{daemon.host}/nim/meta/llama:multi"
    assert registry("arm64").image(image).architectures == ("arm64", "s390x")
    assert registry("arm64").image(image).size == registry("s390x").image(image).size
    assert registry("amd64").image(image).size is None


def put(url: str, body: bytes, kind: str) -> None:
    upload = ["curl", "--fail", "--silent", "--show-error", "-X", "PUT", "--data-binary", "@-"]
    subprocess.run([*upload, "-H", f"Content-Type: {kind}", url], input=body, check=True)


def test_an_image_that_does_not_exist_is_said_to_not_exist(
    daemon: RegistryDaemon, pushed: str, registry: Make
) -> None:
    with pytest.raises(NotFoundError, match=r"no tag 9\.9"):
        registry("amd64").image(f"{daemon.host}/nim/meta/llama:9.9")
    del pushed
