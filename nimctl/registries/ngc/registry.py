"""The NGC model registry: references to artifacts, and the versions of a model."""

from fnmatch import fnmatchcase

from nimctl.core.facts import Artifact, File
from nimctl.core.names import safe_paths
from nimctl.core.ngc import ModelVersion, NgcCredential
from nimctl.core.ports import Location
from nimctl.core.refs import ModelRef
from nimctl.core.selection import selected
from nimctl.http import Client
from nimctl.registries.ngc.api import Api
from nimctl.registries.ngc.endpoints import Model, Release, parse_file_url
from nimctl.registries.ngc.listing import list_files
from nimctl.registries.ngc.locations import Locations
from nimctl.registries.ngc.releases import Releases
from nimctl.registries.ngc.session import Session

LATEST = "latest"


class NgcRegistry:
    """Models on NGC; `credential` goes to `api_url` and `auth_url` only."""

    def __init__(
        self, client: Client, api_url: str, auth_url: str, credential: NgcCredential
    ) -> None:
        self._api = Api(Session(client, auth_url, credential), api_url)
        self._releases = Releases(self._api)
        self._locations = Locations(self._api)

    def resolve(self, ref: ModelRef) -> Artifact:
        """Pin a model to one version and list its files; without a version, the latest.

        Raises:
            NotFoundError: There is no such model, version or file, or none for this account.
            AuthError: The key is refused, or it has no right to the model, or the model's licence
                is not accepted.
            NetworkError: NGC cannot be reached, or answers nonsense.
            VerificationError: NGC gives an unsafe file name or a malformed digest.
            UsageError: The API's address is not encrypted.
        """
        model = Model.of(ref)
        wanted = ref.revision or LATEST
        version = self._releases.latest(model) if wanted == LATEST else wanted
        release, gpu = self._releases.require(Release(model=model, version=version))
        files = selected(ref, list_files(self._api, release, ref.files))
        safe_paths(file.path for file in files)
        return Artifact(reference=str(ref), revision=release.version, files=files, gpu=gpu)

    def locate(self, file: File) -> Location:
        """Say where a file's bytes are; each call for the same file gives a new presigned URL.

        Raises:
            AuthError: The key has lost its right to the model.
            NetworkError: NGC cannot be reached, or answers nonsense.
        """
        named = parse_file_url(file.url)
        return self._locations.next(*named) if named else Location(url=file.url)

    def versions(self, ref: ModelRef) -> tuple[ModelVersion, ...]:
        """The versions of a model, the newest first; those that match the revision, as a glob.

        Raises:
            NotFoundError: There is no such model, or none for this account.
            AuthError: The key is refused, or it has no right to the model.
            NetworkError: NGC cannot be reached, or answers nonsense.
        """
        glob = ref.revision or "*"
        found = self._releases.all(Model.of(ref))
        return tuple(version for version in found if fnmatchcase(version.version, glob))
