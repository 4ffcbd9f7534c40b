"""Ollama's layers in a real registry process, which takes manifests of that shape."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from registry_daemon import DOCKER_MANIFEST, PASSWORD, USER, Layer, Pusher, RegistryDaemon
from token_server import TokenServer

from nimctl.core.errors import AuthError, NotFoundError, UnsupportedModelError
from nimctl.core.http import HttpOptions
from nimctl.core.layout import Layout
from nimctl.core.refs import ModelRef
from nimctl.http import Client
from nimctl.registries.oci import DockerCredentials, ModelDescription, ModelFile, OciPublisher
from nimctl.registries.ollama import OllamaKey, OllamaRegistry
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


def registry_of(client: Client, daemon: RegistryDaemon, key: Path | None = None) -> OllamaRegistry:
    return OllamaRegistry(client, OllamaKey(key or Path("/nowhere/id_ed25519")), daemon.url)


def put(daemon: RegistryDaemon, name: str, layers: list[Layer], tag: str = "latest") -> str:
    return Pusher(daemon).artifact(name, layers, tag=tag, config=CONFIG, media_type=DOCKER_MANIFEST)


def test_each_layer_becomes_the_file_of_its_type(
    daemon: RegistryDaemon, client: Client, tmp_path: Path
) -> None:
    digest = put(daemon, "library/tiny", list(LAYERS.values()), "1b")
    registry = registry_of(client, daemon)
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
    artifact = registry_of(client, daemon).resolve(ModelRef.parse("ollama://ann/tiny"))
    assert [file.path for file in artifact.files] == ["model.gguf"]


def test_a_missing_tag_is_not_found_with_near_ones(daemon: RegistryDaemon, client: Client) -> None:
    put(daemon, "library/tags", [LAYERS["model.gguf"]], "8b-instruct")
    with pytest.raises(NotFoundError, match="has no tag 8b-instrct") as refusal:
        registry_of(client, daemon).resolve(ModelRef.parse("ollama://tags:8b-instrct"))
    assert "near names: 8b-instruct" in (refusal.value.cause or "")
    assert refusal.value.hint == "nimctl pull ollama://tags:8b-instruct"


def test_a_layer_of_a_new_type_is_refused_not_guessed(
    daemon: RegistryDaemon, client: Client
) -> None:
    put(daemon, "library/new", [LAYERS["model.gguf"], Layer(f"{TYPE}tensor", b"1")])
    with pytest.raises(UnsupportedModelError, match=r"ollama\.image\.tensor"):
        registry_of(client, daemon).resolve(ModelRef.parse("ollama://new"))


def test_a_private_model_is_told_from_a_broken_registry(client: Client, tmp_path: Path) -> None:
    with RegistryDaemon.with_password(tmp_path) as daemon:
        Pusher(daemon, password=PASSWORD).artifact("library/x", [LAYERS["model.gguf"]])
        with pytest.raises(AuthError, match="private"):
            registry_of(client, daemon).resolve(ModelRef.parse("ollama://x"))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    with TokenServer(tmp_path_factory.mktemp("tokens")) as tokens:
        yield tokens


@pytest.fixture(scope="module")
def private(
    tokens: TokenServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RegistryDaemon]:
    """A registry with a model of ann's that only tokens open."""
    directory = tmp_path_factory.mktemp("private")
    with RegistryDaemon(directory, auth=tokens.auth) as daemon:
        tokens.logins = {USER: PASSWORD}
        source = directory / "model.gguf"
        source.write_bytes(LAYERS["model.gguf"].data)
        login = directory / "config.json"
        entry = {"username": USER, "password": PASSWORD}
        login.write_text(json.dumps({"auths": {daemon.host: entry}}))
        sha256 = hashlib.sha256(LAYERS["model.gguf"].data).hexdigest()
        files = [ModelFile("model.gguf", source, sha256, source.stat().st_size)]
        http = HttpOptions(attempts=1)
        with Client(http) as client:
            publisher = OciPublisher(client, http, DockerCredentials([login]))
            target = ModelRef.parse(f"oci://{daemon.host}/ann/tiny")
            publisher.push(files, target, ModelDescription(), lambda _: None)
        yield daemon


def write_key(path: Path) -> str:
    """Make a key as `ollama serve` does; returns the public one in base64."""
    key = ed25519.Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return public.decode().split(" ")[1]


def test_a_private_model_is_opened_by_ollama_s_own_key(
    private: RegistryDaemon, tokens: TokenServer, client: Client, tmp_path: Path
) -> None:
    key = tmp_path / "id_ed25519"
    tokens.keys = {write_key(key): "ann"}
    registry = registry_of(client, private, key)
    artifact = registry.resolve(ModelRef.parse("ollama://ann/tiny"))
    blobs = BlobStore(Layout(home=str(tmp_path)))
    [one] = Transfer(blobs, TransferOptions()).fetch(
        artifact.files, registry.locate, lambda _: None
    )
    assert blobs.path(one.sha256).read_bytes() == LAYERS["model.gguf"].data
    # A later run, which has the artifact pinned, locates without resolving.
    later = registry_of(client, private, key)
    blobs.remove(one.sha256)
    Transfer(blobs, TransferOptions(retries=1, backoff_s=0.0)).fetch(
        artifact.files, later.locate, lambda _: None
    )


def test_a_key_that_no_account_has_is_told_where_to_add_it(
    private: RegistryDaemon, tokens: TokenServer, client: Client, tmp_path: Path
) -> None:
    key = tmp_path / "id_ed25519"
    write_key(key)
    tokens.keys = {}
    for path, says in ((key, "ollama.com/settings/keys"), (None, "ollama signin")):
        with pytest.raises(AuthError, match="does not exist, or it is private") as refusal:
            registry_of(client, private, path).resolve(ModelRef.parse("ollama://ann/tiny"))
        assert says in (refusal.value.hint or "")


@pytest.mark.parametrize("kind", ["rsa", "nonsense"])
def test_a_key_that_cannot_sign_is_named(
    private: RegistryDaemon, client: Client, tmp_path: Path, kind: str
) -> None:
    key = tmp_path / "id_ed25519"
    key.write_bytes(b"nonsense")
    if kind == "rsa":
        other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        key.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    with pytest.raises(AuthError, match="id_ed25519 cannot be used"):
        registry_of(client, private, key).resolve(ModelRef.parse("ollama://ann/tiny"))


def test_without_the_extra_it_is_named(private: RegistryDaemon, tmp_path: Path) -> None:
    key = tmp_path / "id_ed25519"
    write_key(key)
    # An interpreter in which the library cannot be imported, as where the extra is not installed.
    program = f"""
import sys
sys.modules["cryptography"] = None
from pathlib import Path
from nimctl.core.errors import AuthError
from nimctl.core.refs import ModelRef
from nimctl.http import Client
from nimctl.registries.ollama import OllamaKey, OllamaRegistry
with Client() as client:
    try:
        OllamaRegistry(client, OllamaKey(Path({str(key)!r})), {private.url!r}).resolve(
            ModelRef.parse("ollama://ann/tiny")
        )
    except AuthError as error:
        print(error.hint)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "pip install 'nimctl[ollama]'"
