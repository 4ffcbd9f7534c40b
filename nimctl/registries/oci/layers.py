"""From layers to files: what each one is called. Pure.

Layers name their files by an annotation. Those of older Docker Model Runner artifacts have a media
type only, and Docker gives them fixed names, with shards numbered as `_number` does:
https://github.com/docker/model-runner/blob/main/pkg/distribution/internal/bundle/unpack.go
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from nimctl.core.errors import UnsupportedModelError
from nimctl.core.names import safe_paths
from nimctl.registries.oci.manifests import Descriptor

ArchiveFormat = Literal["tar", "tar.gz", "tar.zst"]

# ModelPack's, before it joined the CNCF, and that of ORAS; the first one present counts.
_PATH_ANNOTATIONS = (
    "org.cncf.model.filepath",
    "org.cnai.model.filepath",
    "org.opencontainers.image.title",
)
# ORAS packs directories and marks them so: https://oras.land/docs/how_to_guides/pushing_and_pulling
_UNPACK_ANNOTATION = "io.deis.oras.content.unpack"
_EMPTY = "application/vnd.oci.empty.v1+json"
# ORAS gives these to plain files, too, where the user names no type.
_IMAGE_LAYER = ("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs.")
_TAR = re.compile(r"[.]tar(?:[.+](gzip|zstd))?$")
_FORMATS: dict[str | None, ArchiveFormat] = {None: "tar", "gzip": "tar.gz", "zstd": "tar.zst"}
_ARCHIVE_NAME = re.compile(r"[.](tar|tgz|tar[.](gz|zst))$")
_SHARD = re.compile(r"(.+)[.](gguf|safetensors)")
_KITOPS = re.compile(r"application/vnd[.]kitops[.]modelkit[.](\w+)[.]v1[.]")

DOCKER_NAMES: Mapping[str, str] = {
    "application/vnd.docker.ai.gguf.v3": "model.gguf",
    "application/vnd.docker.ai.safetensors": "model.safetensors",
    "application/vnd.docker.ai.dduf": "model.dduf",
    "application/vnd.docker.ai.mmproj": "mmproj.gguf",
    "application/vnd.docker.ai.chat.template.jinja": "chat_template.jinja",
    "application/vnd.docker.ai.license": "LICENSE",
    "application/vnd.docker.ai.vllm.config.tar": "config",
    "application/vnd.docker.ai.dir.tar": "directory",
    "application/vnd.cncf.model.weight.v1.gguf": "model.gguf",
    "application/vnd.cncf.model.weight.v1.safetensors": "model.safetensors",
}


class LayerFile(NamedTuple):
    """A file and the layer that has its bytes; `archive` says how it is packed, None for raw."""

    path: str
    layer: Descriptor
    archive: ArchiveFormat | None


def layer_files(
    layers: Sequence[Descriptor], names: Mapping[str, str] = DOCKER_NAMES
) -> tuple[LayerFile, ...]:
    """Name the files that layers hold; `names` is for media types that need no annotation.

    An archive keeps its name, and `.tar`, `.tar.gz` or `.tar.zst` with it.

    Raises:
        UnsupportedModelError: A layer is of no known type and names no file.
        VerificationError: A name is unsafe, or two are the same.
    """
    kept = [layer for layer in layers if layer.media_type != _EMPTY]
    files = tuple(map(_file, _paths(kept, names), kept))
    safe_paths(file.path for file in files)
    return files


def _paths(layers: Sequence[Descriptor], names: Mapping[str, str]) -> Iterator[str]:
    """What each layer is called; those of one type that name no file are told apart."""
    unnamed = [_usual_name(one, names) for one in layers if _stated_path(one) is None]
    totals = Counter(unnamed)
    counts: Counter[str] = Counter()
    for layer in layers:
        stated = _stated_path(layer)
        if stated is not None:
            yield stated
            continue
        usual = _usual_name(layer, names)
        counts[usual] += 1
        yield usual if totals[usual] == 1 else _number(usual, counts[usual], totals[usual])


def _file(path: str, layer: Descriptor) -> LayerFile:
    archive = _archive_format(layer, path)
    if archive and not _ARCHIVE_NAME.search(path):
        path = f"{path.rstrip('/')}.{archive}"
    return LayerFile(path, layer, archive)


def _stated_path(layer: Descriptor) -> str | None:
    stated = (layer.annotation(key) for key in _PATH_ANNOTATIONS)
    return next((path for path in stated if path is not None), None)


def _archive_format(layer: Descriptor, path: str) -> ArchiveFormat | None:
    tar = _TAR.search(layer.media_type)
    if not tar:
        return None
    if layer.media_type.startswith(_IMAGE_LAYER):
        is_directory = layer.annotation(_UNPACK_ANNOTATION) == "true" or (
            # The Python client of ORAS packs directories without marking them.
            tar[1] == "gzip" and not path.endswith((".gz", ".tgz"))
        )
        if not is_directory:
            return None
    return _FORMATS[tar[1]]


def _usual_name(layer: Descriptor, names: Mapping[str, str]) -> str:
    kit = _KITOPS.match(layer.media_type)
    if kit:
        return kit[1]
    if layer.media_type in names:
        return names[layer.media_type]
    if layer.media_type.startswith(_IMAGE_LAYER):
        raise UnsupportedModelError(
            "it is a container image, not a model", hint="docker pull is the command for images"
        )
    raise UnsupportedModelError(
        f"a layer of type {layer.media_type!r} names no file",
        cause="its type implies no name, and it has no annotation "
        + " or ".join(_PATH_ANNOTATIONS),
    )


def _number(name: str, number: int, total: int) -> str:
    """One of several: shards as loaders expect them, others by a number from the second on."""
    shard = _SHARD.fullmatch(name)
    if shard:
        return f"{shard[1]}-{number:05}-of-{total:05}.{shard[2]}"
    return name if number == 1 else f"{name}-{number}"
