"""Ollama's layers in a real registry process, which takes manifests of that shape."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from registry_daemon import DOCKER_MANIFEST, PASSWORD, Layer, Pusher, RegistryDaemon

from nimctl.core.errors import AuthError, NotFoundError, UnsupportedModelError
from nimctl.core.http import HttpOptions
from nimctl.core.layout import Layout
from nimctl.core.refs import ModelRef
from nimctl.http import Client
from nimctl.registries.ollama import OllamaRegistry
from nimctl.store.blobs import BlobStore
from nimctl.store.transfer import Transfer, TransferOptions

TYPE = "application/vnd.ollama.image."
CONFIG = Layer("application/vnd.docker.container.image.v1+json", b'{"model_format":"gguf"}')
LAYERS = {
    "model.gguf": Layer(f"{TYPE}model", b"GGUF" + bytes(100_000)),
    "mmproj.gguf": Layer(f"{TYPE}projector", b"GGUF projector"),
    "adapter.gguf": Layer(f"{TYPE}adapter", b"GGUF adapter"),
    "template": Layer(f"{TYPE}template", b"{{ .Prompt }}"),
    "params.json": Layer(f"{TYPE}params", b'{"stop":["x"]}'),
    "system": Layer(f"{TYPE}system", b"You are terse."),
    "LICENSE": Layer(f"{TYPE}license", b"Apache-2.0"),
    "LICENSE-2": Layer(f"{TYPE}license", b"Acceptable use"),
}


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(HttpOptions(attempts=1)) as client:
        yield client


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryDaemon]:
    with RegistryDaemon(tmp_path_factory.mktemp("registry")) as daemon:
        yield daemon


def put(daemon: RegistryDaemon, name: str, layers: list[Layer], tag: str = "latest") -> str:
    return Pusher(daemon).artifact(name, layers, tag=tag, config=CONFIG, media_type=DOCKER_MANIFEST)


def test_each_layer_becomes_the_file_of_its_type(
    daemon: RegistryDaemon, client: Client, tmp_path: Path
) -> None:
    digest = put(daemon, "library/tiny", list(LAYERS.values()), "1b")
    registry = OllamaRegistry(client, daemon.url)
    artifact = registry.resolve(ModelRef.parse("ollama://tiny:1b"))
    assert artifact.reference == "ollama://tiny:1b"
    assert artifact.revision == digest
    blobs = BlobStore(Layout(home=str(tmp_path)))
    transfer = Transfer(blobs, TransferOptions())
    fetched = transfer.fetch(artifact.files, registry.locate, lambda _: None)
    content = {one.path: blobs.path(one.sha256).read_bytes() for one in fetched}
    assert content == {path: layer.data for path, layer in LAYERS.items()}


def test_a_model_of_a_user_is_in_that_user_s_namespace(
    daemon: RegistryDaemon, client: Client
) -> None:
    put(daemon, "ann/tiny", [LAYERS["model.gguf"]])
    artifact = OllamaRegistry(client, daemon.url).resolve(ModelRef.parse("ollama://ann/tiny"))
    assert [file.path for file in artifact.files] == ["model.gguf"]


def test_a_missing_tag_is_not_found_with_near_ones(daemon: RegistryDaemon, client: Client) -> None:
    put(daemon, "library/tags", [LAYERS["model.gguf"]], "8b-instruct")
    with pytest.raises(NotFoundError, match="has no tag 8b-instrct") as refusal:
        OllamaRegistry(client, daemon.url).resolve(ModelRef.parse("ollama://tags:8b-instrct"))
    assert "near names: 8b-instruct" in (refusal.value.cause or "")
    assert refusal.value.hint == "nimctl pull ollama://tags:8b-instruct"


def test_a_layer_of_a_new_type_is_refused_not_guessed(
    daemon: RegistryDaemon, client: Client
) -> None:
    put(daemon, "library/new", [LAYERS["model.gguf"], Layer(f"{TYPE}tensor", b"1")])
    with pytest.raises(UnsupportedModelError, match=r"ollama\.image\.tensor"):
        OllamaRegistry(client, daemon.url).resolve(ModelRef.parse("ollama://new"))


def test_a_private_model_is_told_from_a_broken_registry(client: Client, tmp_path: Path) -> None:
    with RegistryDaemon.with_password(tmp_path) as daemon:
        Pusher(daemon, password=PASSWORD).artifact("library/x", [LAYERS["model.gguf"]])
        with pytest.raises(AuthError, match="private"):
            OllamaRegistry(client, daemon.url).resolve(ModelRef.parse("ollama://x"))
