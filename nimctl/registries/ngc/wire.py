"""The JSON of the NGC API, as far as nimctl reads it; most fields may be absent or null."""

from typing import TypeVar

import msgspec

from nimctl.core.errors import NetworkError
from nimctl.core.http import origin
from nimctl.http import Response


class _Wire(msgspec.Struct, rename="camel"):
    """Lenient: unknown fields are ignored, numbers may be text."""


class Pagination(_Wire):
    """Where in a list a page stands."""

    index: int | None = None
    total_pages: int | None = None


class Page(_Wire):
    """A part of a list."""

    pagination_info: Pagination | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is on it, so that the list has ended."""
        raise NotImplementedError


class Model(_Wire):
    """A model."""

    latest_version_id_str: str | None = None
    precision: str | None = None


class Version(_Wire):
    """One version of a model."""

    version_id: str | None = None
    status: str | None = None
    created_date: str | None = None
    total_size_in_bytes: int | None = None
    total_file_count: int | None = None
    gpu_model: str | None = None
    malware_scan_status: str | None = None


class ModelAnswer(_Wire):
    """The answer about a model."""

    model: Model


class VersionAnswer(_Wire):
    """The answer about a version."""

    model_version: Version


class VersionsPage(Page):
    """A page of versions."""

    model: Model | None = None
    model_versions: list[Version] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is on it, so that the list has ended."""
        return not self.model_versions


class ModelFile(_Wire):
    """A file of a version; the digest is in base64."""

    path: str
    size_in_bytes: int | None = None
    sha256_base64: str | None = msgspec.field(name="sha256_base64", default=None)


class FilesPage(Page):
    """A page of files, of URLs, or of both: storage version V2 has `model_files`, V1 the rest."""

    model_files: list[ModelFile] | None = None
    filepath: list[str] | None = None
    urls: list[str] | None = None
    sha256_base64: list[str | None] | None = msgspec.field(name="sha256_base64", default=None)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is on it, so that the list has ended."""
        return not self.model_files and not self.filepath

    @property
    def presigned(self) -> dict[str, str]:
        """The presigned URL of each path."""
        return dict(zip(self.filepath or (), self.urls or (), strict=False))


class Status(_Wire):
    """How a request went."""

    status_description: str | None = None


class ErrorAnswer(_Wire):
    """What comes with a refusal, when it is JSON."""

    request_status: Status | None = None
    detail: str | None = None
    message: str | None = None


class Resource(_Wire):
    """A search result; the id is `org/team/name` or `org/name`."""

    resource_id: str | None = None


class ResourceGroup(_Wire):
    """Search results of one kind."""

    resources: list[Resource] | None = None


class SearchAnswer(_Wire):
    """What a search finds."""

    results: list[ResourceGroup] | None = None


class TokenAnswer(msgspec.Struct):
    """What a key is exchanged for; the token lasts `expires_in` seconds."""

    token: str
    expires_in: float = 900.0


Answer = TypeVar("Answer", bound=msgspec.Struct)


def decode(response: Response, kind: type[Answer]) -> Answer:
    """Read an answer.

    Raises:
        NetworkError: It is not what the API sends.
    """
    try:
        return msgspec.json.decode(response.body, type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise nonsense(response) from error


def nonsense(response: Response) -> NetworkError:
    """Say that an answer makes no sense; its text may hold a token and is not quoted."""
    return NetworkError(
        f"{origin(response.url).host} does not answer as NGC does",
        hint="check NGC_CLI_API_URL, and whether a proxy or a login page is in the way",
    )
