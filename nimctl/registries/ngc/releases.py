"""The versions of models: which there are, and what is said about each."""

from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

from nimctl.core.errors import NimctlError, NotFoundError, VerificationError
from nimctl.core.names import enumerated, near, safe_name
from nimctl.core.ngc import Build, ModelVersion, build_of
from nimctl.http import Response
from nimctl.registries.ngc.api import Api
from nimctl.registries.ngc.endpoints import Model, Release
from nimctl.registries.ngc.failures import not_found
from nimctl.registries.ngc.wire import (
    ModelAnswer,
    SearchAnswer,
    Version,
    VersionAnswer,
    VersionsPage,
    decode,
)

COMPLETE = "UPLOAD_COMPLETE"


class Releases:
    """Looks versions up; all methods raise what `Api.accept` and `Session.get` raise."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def all(self, model: Model) -> list[ModelVersion]:
        """The versions of a model, the newest first."""
        api = self._api
        url_of = partial(api.at.versions, model)
        first = self._of_known(api.ask(url_of(), model), model)
        return [
            _model_version(version, page.model.precision if page.model else None)
            for page in api.pages(first, url_of, model, VersionsPage)
            for version in page.model_versions or ()
            if _printable(version.version_id)
        ]

    def latest(self, model: Model) -> str:
        """The name of a model's latest version.

        Raises:
            VerificationError: No version should be called that.
        """
        response = self._of_known(self._api.ask(self._api.at.model(model), model), model)
        found = decode(self._api.accept(response, model), ModelAnswer).model
        if not found.latest_version_id_str:
            raise NotFoundError(f"ngc://{model} has no version yet")
        return safe_name(found.latest_version_id_str)

    def require(self, release: Release) -> tuple[Release, str | None]:
        """Make sure that a version exists and may be pulled; it, under its own name, and its GPU.

        That is another than the one asked for if NGC knows the latter as a label. That it knows any
        but `latest` for models is not confirmed: no document names one, and the labels of
        https://docs.ngc.nvidia.com/cli/ describe models.

        Raises:
            NotFoundError: It does not exist, or its upload has not ended.
            VerificationError: NGC itself calls it malicious.
        """
        version = self._version(release)
        if version.malware_scan_status == "MALICIOUS":
            raise VerificationError(f"NGC's own scan calls ngc://{release} malicious")
        if version.status not in (None, COMPLETE):
            raise NotFoundError(
                f"ngc://{release} is not complete",
                cause=f"NGC says {_printable(version.status)}: the upload has not ended",
                hint=f"nimctl versions ngc://{release.model}",
            )
        if version.version_id not in (None, release.version):
            release = Release(model=release.model, version=safe_name(version.version_id))
        return release, _gpu(version.gpu_model, build_of(release.version))

    def _version(self, release: Release) -> Version:
        response = self._api.ask(self._api.at.version(release), release)
        if response.status == HTTPStatus.NOT_FOUND:
            names = [version.version for version in self.all(release.model)]
            others = near(release.version, names) or "there is " + enumerated(names)
            raise self._missing(response, release, others)
        return decode(self._api.accept(response, release), VersionAnswer).model_version

    def _of_known(self, response: Response, model: Model) -> Response:
        """Refuse a model that does not exist, with the names of those that it may have meant."""
        if response.status == HTTPStatus.NOT_FOUND:
            raise self._missing(response, model, near(str(model), self._neighbours(model)))
        return response

    def _missing(
        self, response: Response, what: Model | Release, others: str | None
    ) -> NotFoundError:
        return not_found(response, what, is_guest=self._api.session.is_guest, others=others)

    def _neighbours(self, model: Model) -> list[str]:
        """The models of the same organisation and team, as far as a search shows them."""
        try:
            answer = self._api.read(self._api.at.search(model), model, SearchAnswer)
        except NimctlError:
            return []  # what matters is that the model does not exist
        groups = answer.results or ()
        ids = (one.resource_id for group in groups for one in group.resources or ())
        return [resource_id for resource_id in ids if resource_id and resource_id.isprintable()]


def _model_version(version: Version, precision: str | None) -> ModelVersion:
    name = version.version_id or ""
    build = build_of(name)
    return ModelVersion(
        version=name,
        status=_printable(version.status),
        created=_moment(version.created_date),
        size_bytes=version.total_size_in_bytes,
        files=version.total_file_count,
        gpu=_gpu(version.gpu_model, build),
        gpu_count=build.gpu_count,
        precision=build.precision or (_printable(precision) or "").lower() or None,
        profile=build.profile,
    )


def _gpu(stated: str | None, build: Build) -> str | None:
    return _printable(stated) or build.gpu


def _printable(text: str | None) -> str | None:
    """The text, unless a terminal would take it for commands."""
    return text if text and text.isprintable() else None


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)
