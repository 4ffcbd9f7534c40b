"""Pulling from a real registry process: what each kind of model artifact becomes."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_server import Handler, Server, Site
from registry_daemon import DOCKER_MANIFEST, OCI_INDEX, Layer, Pusher, RegistryDaemon

from nimctl.core.errors import (
    NetworkError,
    NotFoundError,
    UnsupportedModelError,
    VerificationError,
)
from nimctl.core.events import Event
from nimctl.core.facts import Artifact
from nimctl.core.http import HttpOptions
from nimctl.core.layout import Layout
from nimctl.core.refs import ModelRef
from nimctl.http import Client
from nimctl.registries.oci import DockerCredentials, OciRegistry
from nimctl.store.blobs import BlobStore
from nimctl.store.transfer import Transfer, TransferOptions

WEIGHTS = bytes(range(256)) * 12_000
CONFIG = b'{"model_type":"llama"}'
MODELPACK = "application/vnd.cncf.model.manifest.v1+json"
RAW, TARRED = "application/vnd.cncf.model.weight.v1.raw", "application/vnd.cncf.model.weight.v1.tar"
FILEPATH, TITLE = "org.cncf.model.filepath", "org.opencontainers.image.title"
DOCKER = "application/vnd.docker.ai."
KIT = "application/vnd.kitops.modelkit."
GGUF = b"application/vnd.docker.ai.gguf.v3"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryDaemon]:
    with RegistryDaemon(tmp_path_factory.mktemp("registry")) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def pusher(daemon: RegistryDaemon) -> Pusher:
    return Pusher(daemon)


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(HttpOptions(attempts=1, connect_timeout_s=5)) as client:
        yield client


@pytest.fixture
def registry(client: Client) -> OciRegistry:
    return OciRegistry(client, DockerCredentials(), architecture="amd64")


def ref(daemon: RegistryDaemon, name: str) -> ModelRef:
    return ModelRef.parse(f"oci://{daemon.host}/{name}")


def paths(artifact: Artifact) -> list[str]:
    return [file.path for file in artifact.files]


def test_a_modelpack_artifact_arrives_byte_equal_in_ranges(
    daemon: RegistryDaemon, pusher: Pusher, registry: OciRegistry, tmp_path: Path
) -> None:
    layers = [
        Layer(RAW, WEIGHTS, {FILEPATH: "sub/model.safetensors"}),
        Layer("application/vnd.cncf.model.weight.config.v1.raw", CONFIG, {FILEPATH: "config.json"}),
        Layer("application/vnd.cncf.model.doc.v1.raw", b"", {FILEPATH: "empty.md"}),
    ]
    digest = pusher.artifact("pack/tiny", layers, tag="v1", artifact_type=MODELPACK)
    artifact = registry.resolve(ref(daemon, "pack/tiny:v1"))
    assert artifact.revision == digest
    blobs = BlobStore(Layout(home=str(tmp_path)))
    transfer = Transfer(blobs, TransferOptions(range_bytes=2**20))
    events: list[Event] = []
    fetched = transfer.fetch(artifact.files, registry.locate, events.append)
    content = {one.path: blobs.path(one.sha256).read_bytes() for one in fetched}
    assert content == {
        "sub/model.safetensors": WEIGHTS,
        "config.json": CONFIG,
        "empty.md": b"",
    }
    weights = hashlib.sha256(WEIGHTS).hexdigest()
    assert daemon.requests("GET").count(f"/v2/pack/tiny/blobs/sha256:{weights}") >= 2


def test_a_digest_pins_the_manifest(
    daemon: RegistryDaemon, pusher: Pusher, registry: OciRegistry
) -> None:
    old = pusher.artifact("pack/pinned", [Layer(RAW, b"old", {FILEPATH: "a.gguf"})])
    new = pusher.artifact("pack/pinned", [Layer(RAW, b"newer", {FILEPATH: "a.gguf"})])
    assert registry.resolve(ref(daemon, f"pack/pinned@{old}")).files[0].size == 3
    assert registry.resolve(ref(daemon, "pack/pinned")).revision == new


def test_an_artifact_of_before_the_cncf_has_tar_layers_that_keep_their_archive_name(
    daemon: RegistryDaemon, pusher: Pusher, registry: OciRegistry
) -> None:
    key = "org.cnai.model.filepath"
    layers = [
        Layer("application/vnd.cnai.model.weight.v1.tar", b"1", {key: "model.safetensors"}),
        Layer("application/vnd.cnai.model.doc.v1.tar+gzip", b"2", {key: "docs"}),
        Layer("application/vnd.cnai.model.code.v1.tar+zstd", b"3", {key: "code.tar.zst"}),
    ]
    pusher.artifact("pack/cnai", layers)
    expected = ["model.safetensors.tar", "docs.tar.gz", "code.tar.zst"]
    assert paths(registry.resolve(ref(daemon, "pack/cnai"))) == expected


def test_docker_models_of_0_1_are_named_by_type(
    daemon: RegistryDaemon, pusher: Pusher, registry: OciRegistry
) -> None:
    config = Layer(f"{DOCKER}model.config.v0.1+json", b'{"config":{"format":"gguf"}}')
    layers = [
        Layer(f"{DOCKER}gguf.v3", WEIGHTS),
        Layer(f"{DOCKER}mmproj", b"m"),
        Layer(f"{DOCKER}license", b"l1"),
        Layer(f"{DOCKER}license", b"l2"),
        Layer(f"{DOCKER}chat.template.jinja", b"t"),
        Layer(f"{DOCKER}vllm.config.tar", b"c"),
    ]
    pusher.artifact("docker/one", layers, config=config)
    assert paths(registry.resolve(ref(daemon, "docker/one"))) == [
        "model.gguf",
        "mmproj.gguf",
        "LICENSE",
        "LICENSE-2",
        "chat_template.jinja",
        "config.tar",
    ]


def test_shards_of_a_docker_model_are_numbered_as_loaders_expect(
    daemon: RegistryDaemon, pusher: Pusher, registry: OciRegistry
) -> None:
    pusher.artifact("docker/shards", [Layer(f"{DOCKER}gguf.v3", b"%d" % n) for n in range(3)])
    assert paths(registry.resolve(ref(daemon, "docker/shards"))) == [
        "model-00001-of-00003.gguf",
        "model-00002-of-00003.gguf",
        "model-00003-of-00003.gguf",
    ]


def test_docker_models_of_0_2_are_named_by_annotation(
    daemon: RegistryDaemon, pusher: Pusher, registry: OciRegistry
) -> None:
    config = Layer(f"{DOCKER}model.config.v0.2+json", b'{"config":{"format":"safetensors"}}')
    layers = [
        Layer(f"{DOCKER}safetensors", b"1", {FILEPATH: "unet/model.safetensors"}),
        Layer(f"{DOCKER}safetensors", b"2", {FILEPATH: "vae/model.safetensors"}),
        Layer(f"{DOCKER}model.file", b"3", {FILEPATH: "tokenizer.json"}),
        Layer(f"{DOCKER}dir.tar", b"4", {FILEPATH: "assets"}),
    ]
    pusher.artifact("docker/two", layers, config=config)
    expected = ["unet/model.safetensors", "vae/model.safetensors", "tokenizer.json", "assets.tar"]
    assert paths(registry.resolve(ref(daemon, "docker/two"))) == expected


def test_the_layers_of_a_modelkit_are_archives_named_by_kind(
    daemon: RegistryDaemon, pusher: Pusher, registry: OciRegistry
) -> None:
    kitfile = Layer(f"{KIT}config.v1+json", b'{"manifestVersion":"1.0.0"}')
    layers = [
        Layer(f"{KIT}model.v1.tar", b"1"),
        Layer(f"{KIT}modelpart.v1.tar+gzip", b"2"),
        Layer(f"{KIT}modelpart.v1.tar+gzip", b"3"),
        Layer(f"{KIT}docs.v1.tar+zstd", b"4"),
    ]
    pusher.artifact("kit/tiny", layers, config=kitfile)
    expected = ["model.tar", "modelpart.tar.gz", "modelpart-2.tar.gz", "docs.tar.zst"]
    assert paths(registry.resolve(ref(daemon, "kit/tiny"))) == expected


def test_any_type_will_do_when_a_title_names_the_file(
    daemon: RegistryDaemon, pusher: Pusher, registry: OciRegistry
) -> None:
    image_layer = "application/vnd.oci.image.layer.v1.tar"
    layers = [
        Layer("application/x-weights", b"1", {TITLE: "weights.bin"}),
        Layer(image_layer, b"2", {TITLE: "notes.txt"}),
        Layer(f"{image_layer}+gzip", b"3", {TITLE: "data", "io.deis.oras.content.unpack": "true"}),
    ]
    pusher.artifact("oras/tiny", layers)
    expected = ["weights.bin", "notes.txt", "data.tar.gz"]
    assert paths(registry.resolve(ref(daemon, "oras/tiny"))) == expected


def test_an_unknown_type_without_a_name_is_refused(
    daemon: RegistryDaemon, pusher: Pusher, registry: OciRegistry
) -> None:
    pusher.artifact("odd/type", [Layer("application/x-mystery", b"1")])
    with pytest.raises(UnsupportedModelError, match="x-mystery"):
        registry.resolve(ref(daemon, "odd/type"))


def test_a_container_image_is_refused_as_such(
    daemon: RegistryDaemon, pusher: Pusher, registry: OciRegistry
) -> None:
    config = Layer("application/vnd.docker.container.image.v1+json", b"{}")
    layers = [Layer("application/vnd.docker.image.rootfs.diff.tar.gzip", b"1")]
    pusher.artifact("odd/image", layers, config=config, media_type=DOCKER_MANIFEST)
    with pytest.raises(UnsupportedModelError, match="container image"):
        registry.resolve(ref(daemon, "odd/image"))


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "C:x", "nul", ""])
def test_a_hostile_name_is_refused(
    daemon: RegistryDaemon, pusher: Pusher, registry: OciRegistry, name: str
) -> None:
    pusher.artifact("odd/name", [Layer(RAW, b"1", {FILEPATH: name})])
    with pytest.raises(VerificationError):
        registry.resolve(ref(daemon, "odd/name"))


def test_two_layers_with_one_name_are_refused(
    daemon: RegistryDaemon, pusher: Pusher, registry: OciRegistry
) -> None:
    twice = [Layer(RAW, b"1", {FILEPATH: "a"}), Layer(RAW, b"2", {FILEPATH: "A"})]
    pusher.artifact("odd/twice", twice)
    with pytest.raises(VerificationError):
        registry.resolve(ref(daemon, "odd/twice"))


def test_an_artifact_without_files_is_not_found(
    daemon: RegistryDaemon, pusher: Pusher, registry: OciRegistry
) -> None:
    pusher.artifact("odd/empty", [Layer("application/vnd.oci.empty.v1+json", b"{}")])
    with pytest.raises(NotFoundError, match="no files"):
        registry.resolve(ref(daemon, "odd/empty"))


def test_of_an_index_the_model_or_the_host_s_manifest_is_chosen(
    daemon: RegistryDaemon, pusher: Pusher, registry: OciRegistry
) -> None:
    def entry(name: str, *, architecture: str | None = None) -> dict[str, object]:
        layers = [Layer(RAW, name.encode(), {FILEPATH: name})]
        digest = pusher.artifact("many/x", layers, tag=name)
        size = len(json.dumps({}))  # the daemon does not compare it
        one: dict[str, object] = {"mediaType": "application/vnd.oci.image.manifest.v1+json"}
        one |= {"digest": digest, "size": size}
        if architecture is None:
            return one | {"artifactType": MODELPACK}
        return one | {"platform": {"os": "linux", "architecture": architecture}}

    def index(tag: str, *entries: dict[str, object]) -> str:
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}
        return pusher.manifest("many/x", tag, document)

    arm, amd = entry("arm", architecture="arm64"), entry("amd", architecture="amd64")
    pinned = index("hosts", arm, amd)
    assert paths(registry.resolve(ref(daemon, "many/x:hosts"))) == ["amd"]
    assert registry.resolve(ref(daemon, "many/x:hosts")).revision == pinned
    index("only", arm)
    assert paths(registry.resolve(ref(daemon, "many/x:only"))) == ["arm"]
    index("model", arm, amd, entry("model"))
    assert paths(registry.resolve(ref(daemon, "many/x:model"))) == ["model"]
    index("none", arm, entry("s390x", architecture="s390x"))
    with pytest.raises(UnsupportedModelError) as refusal:
        registry.resolve(ref(daemon, "many/x:none"))
    assert refusal.value.cause == "it has linux/arm64, linux/s390x"


def test_a_missing_tag_is_not_found_with_near_ones_and_the_registry_s_words(
    daemon: RegistryDaemon, pusher: Pusher, registry: OciRegistry
) -> None:
    for tag in ("1b-q4", "8b-q4", "latest"):
        pusher.artifact("pack/tags", [Layer(RAW, b"1", {FILEPATH: "a"})], tag=tag)
    with pytest.raises(NotFoundError, match="has no tag 8b-q5") as refusal:
        registry.resolve(ref(daemon, "pack/tags:8b-q5"))
    words = refusal.value.cause or ""
    assert words.startswith("the registry says: MANIFEST_UNKNOWN: manifest unknown")
    assert "near names: 8b-q4" in words
    assert refusal.value.hint == f"nimctl pull oci://{daemon.host}/pack/tags:latest"


def test_a_missing_repository_is_not_found(daemon: RegistryDaemon, registry: OciRegistry) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        registry.resolve(ref(daemon, "no/such"))


def test_a_registry_that_is_not_there_is_a_network_error(registry: OciRegistry) -> None:
    with pytest.raises(NetworkError, match="cannot be reached"):
        registry.resolve(ModelRef.parse("oci://127.0.0.1:1/a/b"))


class Scripted(Site):
    """A registry that answers as a test says: path to status, headers and body."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.server = Server(self, ScriptedHandler)

    @property
    def host(self) -> str:
        return self.server.url.removeprefix("http://")


class ScriptedHandler(Handler[Scripted]):
    name = "scripted"

    def answer_request(self) -> None:
        self.answer(*self.server.site.answers.get(self.path, (404, {}, b"")))


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    site = Scripted()
    site.server.start()
    yield site
    site.server.stop()


def test_a_manifest_that_is_not_what_its_digest_says_is_refused(
    scripted: Scripted, registry: OciRegistry
) -> None:
    body = b'{"schemaVersion":2,"layers":[]}'
    wrong = f"sha256:{'0' * 64}"
    scripted.answers["/v2/a/b/manifests/latest"] = (200, {"Docker-Content-Digest": wrong}, body)
    scripted.answers[f"/v2/a/b/manifests/{wrong}"] = (200, {}, body)
    for revision in ("", f"@{wrong}"):
        with pytest.raises(VerificationError, match="not what its digest says"):
            registry.resolve(ModelRef.parse(f"oci://{scripted.host}/a/b{revision}"))


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"schemaVersion":1,"fsLayers":[]}',
        b'{"schemaVersion":2,"layers":[],"manifests":[]}',
        b'{"schemaVersion":2,"layers":[{"digest":"sha256:00","size":1,"mediaType":"%s"}]}' % GGUF,
        b'{"schemaVersion":2,"layers":[{"digest":"sha512:00","size":1,"mediaType":"%s"}]}' % GGUF,
        b'{"schemaVersion":2,"layers":[{"digest":"sha256:00","size":-1,"mediaType":"%s"}]}' % GGUF,
    ],
)
def test_a_malformed_manifest_is_refused(
    scripted: Scripted, registry: OciRegistry, body: bytes
) -> None:
    scripted.answers["/v2/a/b/manifests/latest"] = (200, {}, body)
    with pytest.raises(VerificationError):
        registry.resolve(ModelRef.parse(f"oci://{scripted.host}/a/b"))


def test_tags_are_read_page_by_page_from_the_same_server_only(
    scripted: Scripted, registry: OciRegistry
) -> None:
    first, second = "/v2/a/b/tags/list?n=1000", "/v2/a/b/tags/list?n=1000&last=x"
    away = {"Link": '<http://localhost:1/v2/a/b/tags/list>; rel="next"'}
    scripted.answers[first] = (200, {"Link": f'<{second}>; rel="next"'}, b'{"tags":["x"]}')
    scripted.answers[second] = (200, away, b'{"tags":["lastest"]}')
    with pytest.raises(NotFoundError) as refusal:
        registry.resolve(ModelRef.parse(f"oci://{scripted.host}/a/b"))
    assert refusal.value.cause == "near names: lastest"


def test_what_the_registry_says_is_shown_without_control_characters(
    scripted: Scripted, registry: OciRegistry
) -> None:
    body = json.dumps({"errors": [{"code": "TOO\x1b[2J", "message": "x" * 1000}]}).encode()
    scripted.answers["/v2/a/b/manifests/latest"] = (418, {}, body)
    with pytest.raises(NetworkError) as refusal:
        registry.resolve(ModelRef.parse(f"oci://{scripted.host}/a/b"))
    assert (refusal.value.cause or "").startswith("the registry says: TOO[2J: xxx")
    assert len(refusal.value.cause or "") < 400
