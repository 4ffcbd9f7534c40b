"""Container images in registries: what a pull would bring, and for which processors.

https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md
"""

import msgspec

from nimctl.core.containers import ImageOffer, image_registry
from nimctl.core.errors import VerificationError
from nimctl.core.refs import ModelRef
from nimctl.registries.oci.distribution import Distribution
from nimctl.registries.oci.manifests import Manifest
from nimctl.registries.oci.places import Place

_LINUX = "linux"


class _Config(msgspec.Struct):
    architecture: str = ""


def offer(distribution: Distribution, image: str, architecture: str) -> ImageOffer:
    """Look an image up; its size is that for `architecture`, None when there is none for it."""
    place, reference = _place(distribution, image)
    _, manifest = distribution.fetch(place, reference, image)
    if manifest.manifests is None:
        found = _architecture(distribution, place, manifest)
        size = _size(manifest) if found == architecture else None
        return ImageOffer(reference=image, architectures=(found,), size=size)
    by_architecture = {
        entry.platform.architecture: entry
        for entry in manifest.manifests
        if entry.platform and entry.platform.os == _LINUX
    }
    ours = by_architecture.get(architecture)
    chosen = distribution.fetch(place, f"sha256:{ours.sha256}", image)[1] if ours else None
    return ImageOffer(
        reference=image,
        architectures=tuple(sorted(by_architecture)),
        size=_size(chosen) if chosen else None,
    )


def _place(distribution: Distribution, image: str) -> tuple[Place, str]:
    registry, repository = image_registry(image)
    name, at, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    place = distribution.reach(ModelRef(scheme="oci", path=f"{registry}/{repository}"))
    return place, digest if at else tag or "latest"


def _architecture(distribution: Distribution, place: Place, manifest: Manifest) -> str:
    if manifest.config is None:
        raise VerificationError("the image has no configuration")
    body = distribution.small_blob(place, manifest.config.digest)
    try:
        return msgspec.json.decode(body, type=_Config).architecture
    except msgspec.DecodeError as error:
        raise VerificationError("the image's configuration is malformed") from error


def _size(manifest: Manifest) -> int:
    return sum(layer.size for layer in manifest.layers or ())
