"""Releases of TensorRT-LLM: which of them build engines, and what is in their images.

Engines were removed upstream: 1.3.0rc20 is the last version with the TensorRT backend
(https://github.com/NVIDIA/TensorRT-LLM/releases/tag/v1.3.0rc20), NVIDIA/TensorRT-LLM#15918 took
`trtllm-build` and the conversion scripts out, and
https://nvidia.github.io/TensorRT-LLM/legacy/tensorrt-backend-removal.html says what is left.
"""

import re

from nimctl.core.errors import UsageError
from nimctl.core.value import Value

BUILDER_REPOSITORY = "nvcr.io/nvidia/tensorrt-llm/release"
# The last stable release that builds engines.
BUILDER_VERSION = "1.2.1"
BUILDER_IMAGE = f"{BUILDER_REPOSITORY}:{BUILDER_VERSION}"
REMOVED_IN = "1.3.0rc21"

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:\.?rc(\d+))?(?:\.post(\d+))?")
_OFFICIAL = "/tensorrt-llm/release"
_NO_CANDIDATE = 10**6


class Release(Value):
    """What one release brings; `inferred` names the fields that no document states.

    `tensorrt` is the TensorRT version that its engines need, `driver` the lowest driver branch for
    its CUDA, `image_bytes` the compressed size of its image. None where nothing tells.
    """

    version: str
    tensorrt: str | None = None
    cuda: str | None = None
    driver: int | None = None
    image_bytes: int | None = None
    inferred: tuple[str, ...] = ()


# TensorRT of 1.2.1 and 1.3.0rc12, rc15: the pins in the metadata of the package `tensorrt-llm`.
# CUDA of 1.2.1: from its pin `cuda-python>=13`. The others:
# https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/introduction/compatibility.html
# The size of 1.2.1 is not published where it was looked for; that of the Triton image with 1.1.0
# (the page above) is the nearest.
_KNOWN = {
    one.version: one
    for one in (
        Release(version="1.0.0", tensorrt="10.11.0", cuda="12.9", driver=575),
        Release(version="1.0.3", tensorrt="10.13.3", cuda="13.0", driver=580),
        Release(
            version="1.1.0", tensorrt="10.13.3", cuda="13.0", driver=580, image_bytes=16_040_000_000
        ),
        Release(
            version="1.2.1",
            tensorrt="10.14.1",
            cuda="13",
            driver=580,
            image_bytes=16_040_000_000,
            inferred=("cuda", "driver", "image_bytes"),
        ),
        Release(version="1.3.0rc12", tensorrt="10.15.1", driver=580, inferred=("driver",)),
        Release(version="1.3.0rc15", tensorrt="10.15.1", driver=580, inferred=("driver",)),
    )
}


def release(version: str) -> Release:
    """What is known of a release; of an unknown one only its version."""
    return _KNOWN.get(version) or Release(version=version)


def builds_engines(version: str) -> bool:
    """Whether this release still has `trtllm-build`."""
    return _order(version) < _order(REMOVED_IN)


def version_of_image(image: str) -> str:
    """The release in an image, from its tag: the tag of NVIDIA's image is the package's version.

    Raises:
        UsageError: The tag is no version.
    """
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    if not _VERSION.match(tag):
        raise UsageError(
            f"the image {image} does not say which TensorRT-LLM it holds",
            cause="what an engine needs depends on the version, and the tag is none",
            hint=f"give the image a tag that begins with the version, such as {BUILDER_IMAGE}",
        )
    found = _VERSION.match(tag)
    assert found is not None  # noqa: S101 - it matched above
    return found[0]


def builder_name(image: str) -> str:
    """What an engine key says of its builder: the release, or the image where it is not NVIDIA's.

    A mirror of NVIDIA's image, and a TensorRT-LLM that is installed on the machine, build the same
    engines.
    """
    repository = image.partition("@")[0].rpartition(":")[0] or image
    if f"/{repository}".endswith(_OFFICIAL):
        return installed_name(version_of_image(image))
    return image


def is_built_by(builder: str, image: str) -> bool:
    """Whether an image is what an engine key calls its builder."""
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    if installed_name(tag) == builder:
        return True  # also what is no release, such as the build in a NIM
    try:
        return builder_name(image) == builder
    except UsageError:
        return False  # a tag that is no version says nothing


def release_image(builder: str) -> str | None:
    """NVIDIA's image of the release that an engine key names; None where it names no release."""
    version = builder.removeprefix(installed_name(""))
    if version != builder:
        return f"{BUILDER_REPOSITORY}:{version}" if _VERSION.fullmatch(version) else None
    return builder  # it is an image's name itself


def installed_name(version: str) -> str:
    """The builder of a release, wherever it runs."""
    return f"tensorrt_llm {version}"


def _order(version: str) -> tuple[int, ...]:
    found = _VERSION.match(version)
    if found is None:
        raise UsageError(f"`{version}` is no version of TensorRT-LLM", hint=BUILDER_VERSION)
    major, minor, patch, candidate, post = found.groups()
    return (
        *(int(major), int(minor), int(patch)),
        int(candidate) if candidate else _NO_CANDIDATE,
        int(post or 0),
    )
