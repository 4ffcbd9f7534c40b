"""`pull` of oci://: what each ecosystem stores becomes files, through a real registry daemon."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Run, words
from formats import tar_of
from registry_daemon import Layer, Pusher, RegistryDaemon

GGUF, CONFIG, LICENSE = b"GGUF" + bytes(5000), b'{"model_type":"llama"}', b"Apache-2.0"
# The shortest file of that format: the length of an empty header, and the header.
SAFETENSORS = b"\x02" + bytes(7) + b"{}"
PATH, OLD_PATH = "org.cncf.model.filepath", "org.cnai.model.filepath"
TITLE = "org.opencontainers.image.title"


def cncf(kind: str, data: bytes, path: str, *, of: str = "raw") -> Layer:
    return Layer(f"application/vnd.cncf.model.{kind}.v1.{of}", data, {PATH: path})


def docker(kind: str, data: bytes) -> Layer:
    return Layer(f"application/vnd.docker.ai.{kind}", data)


def kit(kind: str, data: bytes, of: str) -> Layer:
    return Layer(f"application/vnd.kitops.modelkit.{kind}.v1.{of}", data)


ARTIFACTS: dict[str, tuple[list[Layer], dict[str, bytes]]] = {
    "modelpack": (
        [cncf("weight", GGUF, "w/model.gguf"), cncf("doc", LICENSE, "LICENSE")],
        {"w/model.gguf": GGUF, "LICENSE": LICENSE},
    ),
    "modelpack-tar": (
        [
            cncf("weight", tar_of({"w/model.gguf": GGUF}), "w", of="tar"),
            cncf("weight.config", tar_of({"config.json": CONFIG}, "w:gz"), "c", of="tar+gzip"),
        ],
        {"w/model.gguf": GGUF, "config.json": CONFIG},
    ),
    "before-the-cncf": (
        [
            Layer(
                "application/vnd.cnai.model.weight.v1.tar",
                tar_of({"model.gguf": GGUF}),
                {OLD_PATH: "model.gguf"},
            )
        ],
        {"model.gguf": GGUF},
    ),
    "docker-0.1": (
        [docker("gguf.v3", GGUF), docker("license", LICENSE)],
        {"model.gguf": GGUF, "LICENSE": LICENSE},
    ),
    "docker-vllm": (
        [
            docker("safetensors", SAFETENSORS),
            docker("vllm.config.tar", tar_of({"config.json": CONFIG})),
            docker("chat.template.jinja", b"{{ x }}"),
        ],
        {
            "model.safetensors": SAFETENSORS,
            "config.json": CONFIG,
            "chat_template.jinja": b"{{ x }}",
        },
    ),
    "kitops": (
        [
            kit("model", tar_of({"m/model.gguf": GGUF}, "w:gz"), "tar+gzip"),
            kit("docs", tar_of({"LICENSE": LICENSE}), "tar"),
        ],
        {"m/model.gguf": GGUF, "LICENSE": LICENSE},
    ),
    "oras": (
        [Layer("application/octet-stream", GGUF, {TITLE: "model.gguf"})],
        {"model.gguf": GGUF},
    ),
    "oras-directory": (
        [
            Layer(
                "application/vnd.oci.image.layer.v1.tar+gzip",
                tar_of({"model/model.gguf": GGUF}, "w:gz"),
                {TITLE: "model", "io.deis.oras.content.unpack": "true"},
            )
        ],
        {"model/model.gguf": GGUF},
    ),
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryDaemon]:
    with RegistryDaemon(tmp_path_factory.mktemp("registry")) as daemon:
        yield daemon


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_what_an_ecosystem_stores_becomes_files(
    run: Run, daemon: RegistryDaemon, kind: str
) -> None:
    layers, files = ARTIFACTS[kind]
    digest = Pusher(daemon).artifact(f"kinds/{kind}", layers)
    result = run("pull", f"oci://{daemon.host}/kinds/{kind}", "--json")
    assert result.code == 0, result
    assert {one["name"]: Path(one["path"]).read_bytes() for one in result.json["files"]} == files
    assert result.json["revision"] == digest
    again = run("pull", f"oci://{daemon.host}/kinds/{kind}", "--json")
    assert again.json["bytes_fetched"] == 0


def test_a_missing_tag_names_those_that_are_near(run: Run, daemon: RegistryDaemon) -> None:
    Pusher(daemon).artifact("tags/demo", ARTIFACTS["oras"][0], tag="v1.2.0")
    result = run("pull", f"oci://{daemon.host}/tags/demo:v1.2.1")
    assert result.code == 3
    words(result, "has no tag v1.2.1", "near names: v1.2.0")
