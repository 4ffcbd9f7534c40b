"""Pushing to a real registry process, and what of it is sent."""

import hashlib
import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_server import Handler, Server, Site
from registry_daemon import OCI_MANIFEST, RegistryDaemon

from nimctl.core.errors import (
    AuthError,
    NetworkError,
    UsageError,
    VerificationError,
)
from nimctl.core.events import Event, Finished, Progressed, Started
from nimctl.core.http import HttpOptions
from nimctl.core.refs import ModelRef
from nimctl.http import Client
from nimctl.registries.oci import (
    DockerCredentials,
    ModelDescription,
    ModelFile,
    OciPublisher,
    OciRegistry,
)
from nimctl.registries.oci.modelpack import kind

FILES = {
    "model.safetensors": bytes(range(256)) * 10_000,
    "config.json": b'{"model_type":"llama"}',
    "sub/README.md": b"# tiny",
    "empty.txt": b"",
}
DESCRIPTION = ModelDescription(name="tiny", format="safetensors", licenses=("Apache-2.0",))
HTTP = HttpOptions(attempts=3, pause_s=0.5)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryDaemon]:
    with RegistryDaemon(tmp_path_factory.mktemp("registry")) as daemon:
        yield daemon


@pytest.fixture
def pauses() -> list[float]:
    """How long the publisher waited, instead of waiting."""
    return []


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(HTTP) as client:
        yield client


@pytest.fixture
def publisher(client: Client, pauses: list[float]) -> OciPublisher:
    return OciPublisher(client, HTTP, DockerCredentials(), sleep=pauses.append)


@pytest.fixture
def files(tmp_path: Path) -> list[ModelFile]:
    return [on_disk(tmp_path, path, data) for path, data in FILES.items()]


def on_disk(directory: Path, path: str, data: bytes) -> ModelFile:
    sha256 = hashlib.sha256(data).hexdigest()
    source = directory / sha256
    source.write_bytes(data)
    return ModelFile(path, source, sha256, len(data))


def ref(daemon: RegistryDaemon, name: str) -> ModelRef:
    return ModelRef.parse(f"oci://{daemon.host}/{name}")


def get(url: str) -> Any:
    request = urllib.request.Request(url, headers={"Accept": OCI_MANIFEST})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def quiet(_: Event) -> None:
    """Do nothing with an event."""


def test_what_was_pushed_is_a_modelpack_artifact_with_the_same_files(
    daemon: RegistryDaemon, client: Client, publisher: OciPublisher, files: list[ModelFile]
) -> None:
    target = ref(daemon, "push/tiny:v1")
    digest = publisher.push(files, target, DESCRIPTION, quiet, annotations={"note": "by hand"})
    artifact = OciRegistry(client, DockerCredentials()).resolve(target)
    assert artifact.revision == digest
    pushed = {file.path: (file.sha256, file.size) for file in artifact.files}
    assert pushed == {file.path: (file.sha256, file.size) for file in files}
    for file in artifact.files:
        with urllib.request.urlopen(file.url) as answer:
            assert answer.read() == FILES[file.path]

    manifest = get(f"{daemon.url}/v2/push/tiny/manifests/v1")
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert manifest["annotations"] == {"note": "by hand"}
    assert [layer["mediaType"] for layer in manifest["layers"]] == [
        "application/vnd.cncf.model.weight.config.v1.raw",
        "application/vnd.cncf.model.weight.config.v1.raw",
        "application/vnd.cncf.model.weight.v1.raw",
        "application/vnd.cncf.model.doc.v1.raw",
    ]
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    config = get(f"{daemon.url}/v2/push/tiny/blobs/{manifest['config']['digest']}")
    assert config == {
        "descriptor": {"name": "tiny", "licenses": ["Apache-2.0"]},
        "config": {"format": "safetensors"},
        "modelfs": {
            "type": "layers",
            "diffIds": [layer["digest"] for layer in manifest["layers"]],
        },
    }


def test_events_tell_how_far_each_file_is(
    daemon: RegistryDaemon, publisher: OciPublisher, files: list[ModelFile]
) -> None:
    events: list[Event] = []
    publisher.push(files, ref(daemon, "push/events"), DESCRIPTION, events.append)
    name, size = "model.safetensors", len(FILES["model.safetensors"])
    mine = [one for one in events if getattr(one, "task", None) == name]
    assert mine == [
        Started(task=name, title=name, total=size),
        Progressed(task=name, done=2**20),
        Progressed(task=name, done=2 * 2**20),
        Progressed(task=name, done=size),
        Finished(task=name),
    ]


def test_a_second_push_sends_the_manifest_only_and_has_the_same_digest(
    daemon: RegistryDaemon, publisher: OciPublisher, files: list[ModelFile]
) -> None:
    first = publisher.push(files, ref(daemon, "push/again:v1"), DESCRIPTION, quiet)
    before = len(daemon.requests("POST"))
    events: list[Event] = []
    backwards = list(reversed(files))
    second = publisher.push(backwards, ref(daemon, "push/again:v2"), DESCRIPTION, events.append)
    assert second == first
    assert len(daemon.requests("POST")) == before
    notes = [one.note for one in events if isinstance(one, Finished)]
    assert notes == ["already there"] * 4


def test_blobs_of_another_repository_are_mounted_not_sent(
    daemon: RegistryDaemon, publisher: OciPublisher, files: list[ModelFile]
) -> None:
    publisher.push(files, ref(daemon, "push/source"), DESCRIPTION, quiet)
    target = ref(daemon, "push/mounted")
    publisher.push(files, target, DESCRIPTION, quiet, mount_from="push/source")
    mounts = [one for one in daemon.requests("POST") if "push/mounted" in one]
    assert len(mounts) == len(FILES) + 1
    assert all(re.search(r"\?mount=sha256:[0-9a-f]{64}&from=push/source$", one) for one in mounts)
    sent = [one for one in daemon.requests("PUT") if "push/mounted/blobs" in one]
    assert sent == []


def test_what_cannot_be_mounted_is_sent(
    daemon: RegistryDaemon, client: Client, publisher: OciPublisher, files: list[ModelFile]
) -> None:
    target = ref(daemon, "push/unmounted")
    publisher.push(files, target, DESCRIPTION, quiet, mount_from="push/no-such")
    assert len(OciRegistry(client, DockerCredentials()).resolve(target).files) == len(FILES)


def test_a_file_that_is_not_what_its_digest_says_does_not_get_a_manifest(
    daemon: RegistryDaemon, publisher: OciPublisher, tmp_path: Path
) -> None:
    (tmp_path / "w").write_bytes(b"x" * 10)
    wrong = ModelFile("w", tmp_path / "w", "0" * 64, 10)
    with pytest.raises(VerificationError, match="not what its digest says"):
        publisher.push([wrong], ref(daemon, "push/wrong"), DESCRIPTION, quiet)
    with pytest.raises(VerificationError, match="has changed"):
        publisher.push([wrong._replace(size=9)], ref(daemon, "push/wrong"), DESCRIPTION, quiet)
    assert not any("push/wrong/manifests" in one for one in daemon.requests("PUT"))


def test_a_file_that_becomes_shorter_as_it_is_read_is_noticed(
    daemon: RegistryDaemon, client: Client, tmp_path: Path
) -> None:
    source = tmp_path / "w"
    source.write_bytes(b"x" * 3 * 2**20)
    file = ModelFile("w", source, "0" * 64, 3 * 2**20)

    def shorten(event: Event) -> None:
        if isinstance(event, Progressed):
            source.write_bytes(b"")

    publisher = OciPublisher(client, HTTP, DockerCredentials())
    with pytest.raises(VerificationError, match="became shorter"):
        publisher.push([file], ref(daemon, "push/shorter"), DESCRIPTION, shorten)


def test_a_digest_as_the_target_has_to_be_the_right_one(
    daemon: RegistryDaemon, publisher: OciPublisher, files: list[ModelFile]
) -> None:
    digest = publisher.push(files, ref(daemon, "push/exact:v1"), DESCRIPTION, quiet)
    exact = ref(daemon, f"push/exact@{digest}")
    assert publisher.push(files, exact, DESCRIPTION, quiet) == digest
    other = ModelDescription(name="other")
    with pytest.raises(UsageError, match="does not have the digest"):
        publisher.push(files, exact, other, quiet)


def test_hostile_names_and_empty_models_are_not_pushed(
    daemon: RegistryDaemon, publisher: OciPublisher, files: list[ModelFile]
) -> None:
    with pytest.raises(VerificationError):
        publisher.push([files[0]._replace(path="../x")], ref(daemon, "push/x"), DESCRIPTION, quiet)
    with pytest.raises(UsageError, match="no files"):
        publisher.push([], ref(daemon, "push/x"), DESCRIPTION, quiet)


class Weak(Site):
    """A registry that keeps nothing; PUTs of blobs get the planned statuses, 0 for hanging up."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[int] = []
        self.received: list[bytes] = []
        self.upload = "/upload?state=1"
        self.stored = ""
        self.server = Server(self, WeakHandler)
        self.elsewhere = Server(self, WeakHandler)

    @property
    def target(self) -> ModelRef:
        return ModelRef.parse(f"oci://{self.server.url.removeprefix('http://')}/a/b")


class WeakHandler(Handler[Weak]):
    name = "weak"

    def answer_request(self) -> None:
        site = self.server.site
        if self.path == "/v2/":
            self.answer(200, {})
        elif self.command == "HEAD":
            self.answer(404, {})
        elif self.command == "POST":
            self.answer(202, {"Location": site.upload})
        elif "/manifests/" in self.path:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(201, {"Docker-Content-Digest": site.stored})
        else:
            self.answer_upload(site)

    def answer_upload(self, site: Weak) -> None:
        status = site.statuses.pop(0) if site.statuses else 201
        if status == 0:
            self.rfile.read(1000)
            self.close_connection = True
            return
        site.received.append(self.rfile.read(int(self.headers["Content-Length"])))
        body = b'{"errors":[{"code":"DENIED","message":"quota exceeded"}]}'
        self.answer(status, {}, b"" if status == 201 else body)

    do_POST = do_PUT = do_HEAD = Handler.do_GET  # noqa: N815 - http.server's names


@pytest.fixture
def weak() -> Iterator[Weak]:
    site = Weak()
    site.server.start()
    site.elsewhere.start()
    yield site
    site.server.stop()
    site.elsewhere.stop()


def test_an_upload_that_breaks_begins_anew(
    weak: Weak, publisher: OciPublisher, files: list[ModelFile], pauses: list[float]
) -> None:
    weak.statuses = [0, 503]
    publisher.push(files[:1], weak.target, DESCRIPTION, quiet)
    assert weak.received[1] == FILES["model.safetensors"]
    assert pauses == [0.5, 1.0]


def test_a_registry_that_stores_another_manifest_is_noticed(
    weak: Weak, publisher: OciPublisher, files: list[ModelFile]
) -> None:
    weak.stored = f"sha256:{'0' * 64}"
    with pytest.raises(VerificationError, match="another manifest"):
        publisher.push(files[:1], weak.target, DESCRIPTION, quiet)


def test_an_upload_that_keeps_breaking_is_given_up(
    weak: Weak, publisher: OciPublisher, files: list[ModelFile], pauses: list[float]
) -> None:
    weak.statuses = [0] * 9
    with pytest.raises(NetworkError, match="breaks off"):
        publisher.push(files[:1], weak.target, DESCRIPTION, quiet)
    assert len(weak.statuses) == 9 - HTTP.attempts
    assert len(pauses) == HTTP.attempts - 1


def test_a_refusal_is_told_in_the_registry_s_words_and_not_tried_again(
    weak: Weak, publisher: OciPublisher, files: list[ModelFile], pauses: list[float]
) -> None:
    weak.statuses = [403]
    with pytest.raises(AuthError) as refusal:
        publisher.push(files[:1], weak.target, DESCRIPTION, quiet)
    assert refusal.value.cause == "the registry says: DENIED: quota exceeded"
    weak.statuses = [413]
    with pytest.raises(NetworkError, match="413"):
        publisher.push(files[:1], weak.target, DESCRIPTION, quiet)
    assert pauses == []


def test_credentials_do_not_follow_an_upload_to_another_origin(
    weak: Weak, client: Client, files: list[ModelFile], tmp_path: Path
) -> None:
    class Asks(WeakHandler):
        def answer_request(self) -> None:
            if "Authorization" in self.headers:
                super().answer_request()
            else:
                self.answer(401, {"WWW-Authenticate": "Basic"})

    weak.server.RequestHandlerClass = Asks
    weak.upload = f"{weak.elsewhere.url}/upload"
    host = weak.target.path.partition("/")[0]
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auths": {host: {"username": "u", "password": "p"}}}))
    OciPublisher(client, HTTP, DockerCredentials([path])).push(
        files[:1], weak.target, DESCRIPTION, quiet
    )
    uploads = [one for one in weak.seen if one.path.startswith("/upload")]
    assert len(uploads) == 2
    assert all("authorization" not in one.headers for one in uploads)
    manifests = [one for one in weak.seen if "/manifests/" in one.path]
    assert all("authorization" in one.headers for one in manifests)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/model-00001-of-00002.safetensors", "weight"),
        ("model.gguf", "weight"),
        ("rank0.engine", "weight"),
        ("tokenizer.json", "weight.config"),
        ("merges.txt", "weight.config"),
        ("LICENSE", "doc"),
        ("LICENSE-2", "doc"),
        ("Readme.md", "doc"),
        ("licenses.py", "code"),
        ("train.parquet", "dataset"),
    ],
)
def test_the_name_tells_what_a_file_is_for(path: str, expected: str) -> None:
    assert kind(path) == expected
