"""Where manifests are: in files, behind running servers, and in images that are never started."""

from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from nimctl import documents
from nimctl.core.containers import Image
from nimctl.core.errors import NetworkError, NotFoundError, UsageError, VerificationError
from nimctl.core.nim_manifest import MANIFEST_PATHS, FoundManifest, ManifestSource
from nimctl.core.ports import Containers
from nimctl.manifests.reading import parse
from nimctl.safe_yaml import LIMITS

if TYPE_CHECKING:
    from nimctl.http import Client

# Field reports: a running NIM answers {"manifest_file": "<yaml>"}.
_SERVED_AT = "/v1/manifest"
# https://github.com/NVIDIA/k8s-nim-operator, internal/nimsource/imageinspect.go: an image whose
# protocol is `native-v1` has no manifest.
_PROTOCOL_LABEL = "com.nvidia.nim.model_download_protocol"
_VERSION_LABEL = "com.nvidia.nim.version"


class _Answer(msgspec.Struct):
    manifest_file: str


def read_file(source: ManifestSource, stdin: BinaryIO) -> FoundManifest:
    """Read a manifest from a file or, for `-`, from `stdin`.

    Raises:
        NotFoundError: There is no such file.
        UsageError: It cannot be read.
        VerificationError: It is no manifest.
    """
    if source.place == "-":
        data = _at_most_a_document(stdin)
    else:
        try:
            with documents.opened(Path(source.place)) as file:
                data = _at_most_a_document(file)
        except FileNotFoundError:
            raise NotFoundError(f"there is no file {source.place}") from None
        except OSError as error:
            raise UsageError(f"{source.place} cannot be read", cause=error.strerror) from error
    return FoundManifest(source=source, manifest=parse(data, str(source)))


def read_endpoint(source: ManifestSource, http: "Client") -> FoundManifest:
    """Ask a running NIM for its manifest; its URL may end in `/v1`, as that of an OpenAI client.

    Raises:
        UsageError: The place is no URL.
        NetworkError: The server cannot be reached, or answers nonsense.
        NotFoundError: It has no manifest to give.
        VerificationError: What it gives is no manifest.
    """
    url = source.place.rstrip("/")
    if not url.startswith(("http://", "https://")):
        server = source.place.rpartition("://")[2]
        raise UsageError(
            f"`{source.place}` is no URL of http or https", hint=f"--endpoint http://{server}"
        )
    url = url.removesuffix(_SERVED_AT).removesuffix("/v1") + _SERVED_AT
    response = http.get(url)
    if response.status == HTTPStatus.NOT_FOUND:
        raise NotFoundError(
            f"{source.place} has no model manifest",
            cause=f"{_SERVED_AT} answers 404: it is no NIM, or a model-free one",
            hint=f"curl {url.removesuffix(_SERVED_AT)}/v1/models",
        )
    response.raise_for_status()
    try:
        answer = msgspec.json.decode(response.body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NetworkError(
            f"{url} does not answer as a NIM does", cause='expected {"manifest_file": "…"}'
        ) from error
    return FoundManifest(
        source=source, manifest=parse(answer.manifest_file.encode(), f"the manifest at {url}")
    )


def read_image(source: ManifestSource, containers: Containers) -> FoundManifest:
    """Copy the manifest out of an image that the engine has; nothing of the image runs.

    Raises:
        NotFoundError: The engine does not have the image, or there is no manifest in it.
        ContainerEngineError: There is no engine, or it fails.
        VerificationError: What is in the image is no manifest.
    """
    image = containers.image(source.place)
    if image is None:
        raise NotFoundError(
            f"the image {source.place} is not on this machine",
            hint=f"docker pull {source.place}, or the same command with --pull-image",
        )
    files = containers.read_files(source.place, MANIFEST_PATHS)
    data = next((files[path] for path in MANIFEST_PATHS if path in files), None)
    if data is None:
        raise _no_manifest(source.place, image)
    return FoundManifest(
        source=source,
        manifest=parse(data, str(source)),
        nim_version=_label(image, _VERSION_LABEL),
        download_protocol=_label(image, _PROTOCOL_LABEL),
    )


def _no_manifest(reference: str, image: Image) -> NotFoundError:
    version, protocol = _label(image, _VERSION_LABEL), _label(image, _PROTOCOL_LABEL)
    if protocol:
        return NotFoundError(
            f"the image {reference} has no model manifest",
            cause=f"NIM {version or 'of unknown version'} that downloads by {protocol}: it chooses "
            "its files itself when it starts",
            hint="nimctl list-profiles shows the catalogue, with this NIM's model as a whole",
        )
    what = f"NIM {version}, but a model-free one" if version else "not a NIM image, or model-free"
    return NotFoundError(
        f"the image {reference} has no model manifest",
        cause=f"{what}: what it serves is named when it starts",
        hint="nimctl list-profiles hf://ORG/REPO shows what a checkpoint of yours needs",
    )


def _label(image: Image, name: str) -> str | None:
    text = image.labels.get(name, "")
    return text if text and text.isprintable() else None


def _at_most_a_document(file: BinaryIO) -> bytes:
    """Read a file that may be without end."""
    data = file.read(LIMITS.document_bytes + 1)
    if len(data) > LIMITS.document_bytes:
        raise VerificationError(
            "the manifest is refused", cause=f"it is larger than {LIMITS.document_bytes:,} bytes"
        )
    return data
