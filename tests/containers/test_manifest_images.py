"""Manifests out of images that are never started: these hold no program that could be."""

from collections.abc import Callable, Iterator

import pytest
from docker_cli import RUN, docker
from nim_images import make_file_image
from nim_manifests import SCHEMA_1, SCHEMA_2

from nimctl.core.errors import NotFoundError, VerificationError
from nimctl.core.nim_manifest import MANIFEST_PATHS, ManifestSource
from nimctl.manifests.sources import read_image
from nimctl.serving.docker.engine import DockerEngine

Make = Callable[..., ManifestSource]


@pytest.fixture
def make(docker_runs: None) -> Iterator[Make]:  # noqa: ARG001 - it skips
    """Makes an image of some files and labels; all are removed."""
    made: list[str] = []

    def one(files: dict[str, bytes], **labels: str) -> ManifestSource:
        reference = f"nvcr.io/nim/test/manifest-{len(made)}:{RUN}"
        made.append(reference)
        named = {f"com.nvidia.nim.{name}": value for name, value in labels.items()}
        make_file_image(reference, {"/etc/hostname": b"x", **files}, named)
        return ManifestSource(kind="image", place=reference)

    yield one
    docker("rmi", "--force", *made)


@pytest.mark.parametrize("path", MANIFEST_PATHS)
def test_a_manifest_is_copied_out_of_each_of_its_places(
    engine: DockerEngine, make: Make, path: str
) -> None:
    source = make({path: SCHEMA_2.encode()}, version="1.8.6", model_download_protocol="")
    found = read_image(source, engine)
    assert [profile.id for profile in found.manifest.profiles][:2] == ["3a3a3a3a", "3b3b3b3b"]
    assert (found.nim_version, found.download_protocol) == ("1.8.6", None)
    # Tests beside this one read images of their own.
    left = docker("ps", "--all", "--filter", f"ancestor={source.place}", "--format", "{{.Names}}")
    assert left == ""


def test_the_newer_place_goes_first(engine: DockerEngine, make: Make) -> None:
    newer, older, _ = MANIFEST_PATHS
    source = make({older: SCHEMA_1.encode(), newer: SCHEMA_2.encode()})
    assert read_image(source, engine).manifest.schema == "2"


def test_an_image_without_a_manifest_says_what_it_may_be(engine: DockerEngine, make: Make) -> None:
    with pytest.raises(NotFoundError) as other:
        read_image(make({}), engine)
    assert "not a NIM image, or model-free" in (other.value.cause or "")
    with pytest.raises(NotFoundError) as free:
        read_image(make({}, version="2.0.3"), engine)
    assert "NIM 2.0.3, but a model-free one" in (free.value.cause or "")
    assert "hf://ORG/REPO" in (free.value.hint or "")
    with pytest.raises(NotFoundError) as native:
        read_image(make({}, version="2.2.0", model_download_protocol="native-v1"), engine)
    assert "NIM 2.2.0 that downloads by native-v1" in (native.value.cause or "")


def test_an_image_that_is_not_there_is_to_be_pulled(engine: DockerEngine) -> None:
    name = "nvcr.io/nim/no/such:1"
    with pytest.raises(NotFoundError) as caught:
        read_image(ManifestSource(kind="image", place=name), engine)
    assert caught.value.hint == f"docker pull {name}, or the same command with --pull-image"


def test_a_hostile_image_is_refused(engine: DockerEngine, make: Make) -> None:
    with pytest.raises(VerificationError, match="is no NIM manifest"):
        read_image(make({MANIFEST_PATHS[0]: b"- 1\n"}), engine)
    with pytest.raises(VerificationError, match="larger than 33,554,432 bytes"):
        read_image(make({MANIFEST_PATHS[0]: bytes(33 * 2**20)}), engine)
