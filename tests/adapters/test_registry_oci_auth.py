"""Who may pull: Basic and Bearer authentication against a real registry process."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_server import Handler, Server, Site
from registry_daemon import PASSWORD, USER, Layer, Pusher, RegistryDaemon
from token_server import TokenServer

from nimctl.core.errors import AuthError, NetworkError
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

WEIGHTS = bytes(range(256)) * 100
SHA256 = "22c27b021752596140145a93194d9cdf33b0b1b454f50fd1b430491eb3eb3cb9"
LAYERS = [
    Layer("application/vnd.cncf.model.weight.v1.raw", WEIGHTS, {"org.cncf.model.filepath": "w"})
]
HTTP = HttpOptions(attempts=1)


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(HTTP) as client:
        yield client


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryDaemon]:
    with RegistryDaemon.with_password(tmp_path_factory.mktemp("locked")) as daemon:
        Pusher(daemon, password=PASSWORD).artifact("ai/tiny", LAYERS)
        yield daemon


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    with TokenServer(tmp_path_factory.mktemp("tokens")) as tokens:
        yield tokens


@pytest.fixture(scope="module")
def guarded(
    tokens: TokenServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RegistryDaemon]:
    with RegistryDaemon(tmp_path_factory.mktemp("guarded"), auth=tokens.auth) as daemon:
        tokens.logins = {USER: PASSWORD}
        yield daemon


@pytest.fixture
def service(tokens: TokenServer) -> TokenServer:
    """The token service as it is at first."""
    tokens.seen.clear()
    tokens.readable, tokens.lifetime_s, tokens.stillborn = {"ai/public"}, 300, 0
    return tokens


def login(tmp_path: Path, daemon: RegistryDaemon, password: str = PASSWORD) -> DockerCredentials:
    """What `docker login` writes."""
    pair = base64.b64encode(f"{USER}:{password}".encode()).decode()
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auths": {daemon.host: {"auth": pair}}}))
    return DockerCredentials([path])


def model(daemon: RegistryDaemon, name: str = "ai/tiny") -> ModelRef:
    return ModelRef.parse(f"oci://{daemon.host}/{name}")


def pull(registry: OciRegistry, ref: ModelRef, directory: Path) -> bytes:
    blobs = BlobStore(Layout(home=str(directory / "nimctl")))
    transfer = Transfer(blobs, TransferOptions(retries=1, backoff_s=0.0))
    (one,) = transfer.fetch(registry.resolve(ref).files, registry.locate, lambda _: None)
    return blobs.path(one.sha256).read_bytes()


def push(client: Client, credentials: DockerCredentials, ref: ModelRef, directory: Path) -> str:
    source = directory / "weights"
    source.write_bytes(WEIGHTS)
    publisher = OciPublisher(client, HTTP, credentials)
    files = [ModelFile("w", source, SHA256, len(WEIGHTS))]
    return publisher.push(files, ref, ModelDescription(), lambda _: None)


def test_a_password_opens_the_registry(
    client: Client, locked: RegistryDaemon, tmp_path: Path
) -> None:
    registry = OciRegistry(client, login(tmp_path, locked))
    assert pull(registry, model(locked), tmp_path) == WEIGHTS


def test_a_pinned_file_is_located_by_a_process_that_has_not_resolved_it(
    client: Client, locked: RegistryDaemon, tmp_path: Path
) -> None:
    (file,) = OciRegistry(client, login(tmp_path, locked)).resolve(model(locked)).files
    location = OciRegistry(client, login(tmp_path, locked)).locate(file)
    assert location.url == file.url
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert location.headers == {"Authorization": f"Basic {pair}"}


def test_without_a_login_the_way_to_one_is_told(client: Client, locked: RegistryDaemon) -> None:
    with pytest.raises(AuthError, match="wants credentials") as refusal:
        OciRegistry(client, DockerCredentials()).resolve(model(locked))
    assert refusal.value.hint == f"docker login {locked.host}"


def test_a_wrong_password_is_refused_in_the_registry_s_words(
    client: Client, locked: RegistryDaemon, tmp_path: Path
) -> None:
    with pytest.raises(AuthError, match="refuses these credentials") as refusal:
        OciRegistry(client, login(tmp_path, locked, "wrong")).resolve(model(locked))
    assert (refusal.value.cause or "").startswith("the registry says: UNAUTHORIZED")
    assert refusal.value.hint == f"docker login {locked.host}"


def test_netrc_is_not_for_registries(locked: RegistryDaemon, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    with (
        Client(HttpOptions(attempts=1, netrc_file=str(netrc))) as client,
        pytest.raises(AuthError, match="wants credentials"),
    ):
        OciRegistry(client, DockerCredentials()).resolve(model(locked))


class Front(Site):
    """A registry that sends blobs from elsewhere, and challenges as a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.challenge: str | None = None
        self.storage_challenge: str | None = None
        self.posts_to = ""
        self.redirects_manifests = False
        self.server, self.storage = Server(self, FrontHandler), Server(self, StorageHandler)

    @property
    def host(self) -> str:
        return self.server.url.removeprefix("http://")


class FrontHandler(Handler[Front]):
    name = "front"

    def answer_request(self) -> None:
        site = self.server.site
        if site.challenge and "Authorization" not in self.headers:
            self.answer(401, {"WWW-Authenticate": site.challenge})
        elif self.path == "/v2/":
            self.answer(200, {})
        elif "/manifests/" in self.path and not site.redirects_manifests:
            layer = {"mediaType": "x", "digest": f"sha256:{SHA256}", "size": len(WEIGHTS)}
            layer["annotations"] = {"org.cncf.model.filepath": "w"}
            document = {"schemaVersion": 2, "layers": [layer]}
            self.answer(200, {}, json.dumps(document).encode())
        else:
            self.answer(307, {"Location": f"{site.storage.url}{self.path}?X-Amz-Signature=1"})

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        self.answer(307, {"Location": self.server.site.posts_to})


class StorageHandler(Handler[Front]):
    name = "storage"

    def answer_request(self) -> None:
        challenge = self.server.site.storage_challenge
        if challenge:
            self.answer(401, {"WWW-Authenticate": challenge})
        else:
            self.answer_file(self.path, WEIGHTS, {})


@pytest.fixture
def front() -> Iterator[Front]:
    site = Front()
    site.server.start()
    site.storage.start()
    yield site
    site.server.stop()
    site.storage.stop()


def identity(tmp_path: Path, daemon: RegistryDaemon, token: str) -> Path:
    """What `docker login` writes for a registry that gives identity tokens."""
    path = tmp_path / "identity.json"
    # Without a user, containers/image takes the entry for none.
    pair = base64.b64encode(b"00000000-0000-0000-0000-000000000000:").decode()
    entry = {"auth": pair, "identitytoken": token}
    path.write_text(json.dumps({"auths": {daemon.host: entry}}))
    return path


def test_an_identity_token_is_exchanged_and_never_sent_to_the_registry(
    client: Client, guarded: RegistryDaemon, service: TokenServer, tmp_path: Path
) -> None:
    push(client, login(tmp_path, guarded), model(guarded), tmp_path)
    service.identities = {"long-lived": USER}
    service.seen.clear()
    credentials = DockerCredentials([identity(tmp_path, guarded, "long-lived")])
    assert pull(OciRegistry(client, credentials), model(guarded), tmp_path) == WEIGHTS
    (asked,) = service.seen
    assert (asked.method, asked.path) == ("POST", "/token")
    assert "authorization" not in asked.headers
    unknown = OciRegistry(client, DockerCredentials([identity(tmp_path, guarded, "unknown-1")]))
    with pytest.raises(AuthError, match="refuses these credentials") as refusal:
        unknown.resolve(model(guarded))
    assert "unknown-1" not in f"{refusal.value.message}{refusal.value.cause}"


def test_skopeo_is_given_tokens_for_the_same_identity_token(
    client: Client, guarded: RegistryDaemon, service: TokenServer, tmp_path: Path
) -> None:
    """The stand-in is faithful: another client, unmodified, speaks with it."""
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("there is no skopeo: apt-get install skopeo")
    push(client, login(tmp_path, guarded), model(guarded), tmp_path)
    service.identities = {"long-lived": USER}
    auth_file = identity(tmp_path, guarded, "long-lived")
    command = [skopeo, "inspect", "--raw", "--tls-verify=false", f"--authfile={auth_file}"]
    done = subprocess.run(
        [*command, f"docker://{guarded.host}/ai/tiny:latest"], capture_output=True, check=False
    )
    assert done.returncode == 0, done
    assert SHA256 in done.stdout.decode()
    assert [one.method for one in service.seen][-1] == "POST"


def test_an_identity_token_does_not_open_a_registry_without_tokens(
    client: Client, locked: RegistryDaemon, tmp_path: Path
) -> None:
    credentials = DockerCredentials([identity(tmp_path, locked, "long-lived")])
    with pytest.raises(AuthError, match="refuses these credentials"):
        OciRegistry(client, credentials).resolve(model(locked))


def test_a_token_service_may_not_send_an_identity_token_elsewhere(
    client: Client, front: Front, tmp_path: Path
) -> None:
    front.challenge = f'Bearer realm="{front.server.url}/token",service="s"'
    front.posts_to = f"{front.storage.url}/token"
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auths": {front.host: {"identitytoken": "long-lived"}}}))
    with pytest.raises(NetworkError):
        OciRegistry(client, DockerCredentials([path])).resolve(
            ModelRef.parse(f"oci://{front.host}/a/b")
        )
    assert all(one.server == "front" for one in front.seen)


def test_a_token_is_fetched_once_for_all_requests(
    client: Client, guarded: RegistryDaemon, service: TokenServer, tmp_path: Path
) -> None:
    credentials = login(tmp_path, guarded)
    push(client, credentials, model(guarded), tmp_path)
    service.seen.clear()
    assert pull(OciRegistry(client, credentials), model(guarded), tmp_path) == WEIGHTS
    (asked,) = service.seen
    assert asked.path.endswith("scope=repository:ai/tiny:pull")
    assert asked.headers["authorization"].startswith("Basic ")


def test_anybody_may_pull_what_is_public_and_nothing_else(
    client: Client, guarded: RegistryDaemon, service: TokenServer, tmp_path: Path
) -> None:
    for name in ("ai/public", "ai/private"):
        push(client, login(tmp_path, guarded), model(guarded, name), tmp_path)
    service.seen.clear()
    registry = OciRegistry(client, DockerCredentials())
    assert pull(registry, model(guarded, "ai/public"), tmp_path) == WEIGHTS
    assert all("authorization" not in one.headers for one in service.seen)
    with pytest.raises(AuthError, match="wants credentials for ai/private"):
        registry.resolve(model(guarded, "ai/private"))


def test_a_token_that_has_expired_is_fetched_anew(
    client: Client, guarded: RegistryDaemon, service: TokenServer, tmp_path: Path
) -> None:
    now_s = 1000.0
    push(client, login(tmp_path, guarded), model(guarded), tmp_path)
    registry = OciRegistry(client, login(tmp_path, guarded), clock=lambda: now_s)
    service.seen.clear()
    (file,) = registry.resolve(model(guarded)).files
    first = registry.locate(file)
    assert len(service.seen) == 1
    now_s += 299
    assert registry.locate(file).headers != first.headers
    assert len(service.seen) == 2


def test_a_token_that_the_registry_no_longer_takes_is_renewed_in_the_middle_of_a_transfer(
    client: Client, guarded: RegistryDaemon, service: TokenServer, tmp_path: Path
) -> None:
    push(client, login(tmp_path, guarded), model(guarded), tmp_path)
    (file,) = OciRegistry(client, login(tmp_path, guarded)).resolve(model(guarded)).files
    service.seen.clear()
    service.stillborn = 1
    registry = OciRegistry(client, login(tmp_path, guarded))
    blobs = BlobStore(Layout(home=str(tmp_path / "nimctl")))
    Transfer(blobs, TransferOptions()).fetch([file], registry.locate, lambda _: None)
    assert blobs.path(SHA256).read_bytes() == WEIGHTS
    assert len(service.seen) == 2


def test_a_lifetime_that_is_not_told_is_a_minute(
    client: Client, guarded: RegistryDaemon, service: TokenServer, tmp_path: Path
) -> None:
    now_s = 0.0
    push(client, login(tmp_path, guarded), model(guarded), tmp_path)
    service.lifetime_s = None
    registry = OciRegistry(client, login(tmp_path, guarded), clock=lambda: now_s)
    service.seen.clear()
    registry.resolve(model(guarded))
    now_s = 50.0
    registry.resolve(model(guarded))
    assert len(service.seen) == 1
    now_s = 60.0
    registry.resolve(model(guarded))
    assert len(service.seen) == 2


def test_a_password_that_the_token_service_refuses_is_told(
    client: Client, guarded: RegistryDaemon, service: TokenServer, tmp_path: Path
) -> None:
    with pytest.raises(AuthError, match="refuses these credentials") as refusal:
        OciRegistry(client, login(tmp_path, guarded, "wrong")).resolve(model(guarded))
    assert refusal.value.cause == "the registry says: incorrect username or password"
    assert len(service.seen) == 1


def test_credentials_do_not_follow_a_blob_to_another_origin(
    client: Client, front: Front, tmp_path: Path
) -> None:
    front.challenge = 'Basic realm="front"'
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auths": {front.host: {"username": "u", "password": "p"}}}))
    registry = OciRegistry(client, DockerCredentials([path]))
    assert pull(registry, ModelRef.parse(f"oci://{front.host}/a/b"), tmp_path) == WEIGHTS
    _, *asked = [one for one in front.seen if one.server == "front" and one.path != "/v2/"]
    assert all("authorization" in one.headers for one in asked)
    stored = [one for one in front.seen if one.server == "storage"]
    assert stored
    assert all("authorization" not in one.headers for one in stored)


def test_only_the_registry_says_where_its_login_is_sent(
    client: Client, front: Front, tmp_path: Path
) -> None:
    front.redirects_manifests = True
    front.storage_challenge = f'Bearer realm="{front.storage.url}/token"'
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auths": {front.host: {"username": "u", "password": "p"}}}))
    with pytest.raises(AuthError):
        OciRegistry(client, DockerCredentials([path])).resolve(
            ModelRef.parse(f"oci://{front.host}/a/b")
        )
    assert [one.server for one in front.seen] == ["front", "front", "storage"]
    assert all("authorization" not in one.headers for one in front.seen)


def test_a_login_is_not_sent_unencrypted_to_another_machine(client: Client, front: Front) -> None:
    front.challenge = 'Bearer realm="http://token.invalid/token",service="s"'
    with pytest.raises(AuthError, match="unencrypted"):
        OciRegistry(client, DockerCredentials()).resolve(ModelRef.parse(f"oci://{front.host}/a/b"))


def test_a_challenge_that_cannot_be_met_is_an_auth_error(client: Client, front: Front) -> None:
    front.challenge = "Negotiate"
    with pytest.raises(AuthError, match="wants credentials"):
        OciRegistry(client, DockerCredentials()).resolve(ModelRef.parse(f"oci://{front.host}/a/b"))


def test_a_token_service_that_answers_nonsense_is_a_network_error(
    client: Client, front: Front
) -> None:
    front.challenge = f'Bearer realm="{front.storage.url}/token",service="s"'
    with pytest.raises(NetworkError, match="token service"):
        OciRegistry(client, DockerCredentials()).resolve(ModelRef.parse(f"oci://{front.host}/a/b"))
