"""Models in OCI registries: `oci://HOST/REPOSITORY[:TAG][@sha256:HEX]`."""

import platform
import time

from nimctl.core.containers import ImageOffer
from nimctl.core.errors import NotFoundError
from nimctl.core.facts import Artifact, File
from nimctl.core.ports import Location
from nimctl.core.refs import ModelRef
from nimctl.core.selection import selected
from nimctl.http import Client
from nimctl.registries.oci.auth import Authorizer, Clock, Credentials
from nimctl.registries.oci.distribution import Distribution
from nimctl.registries.oci.images import offer
from nimctl.registries.oci.layers import LayerFile, layer_files
from nimctl.registries.oci.locations import BlobLocations
from nimctl.registries.oci.places import Place

# From the kernel's names to Go's, which manifests use: https://go.dev/doc/install/source#environment
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class OciRegistry:
    """Any registry of the distribution API; credentials go to the one they are for only.

    `architecture` in Go's terms chooses among an index's manifests, by default this machine's.
    """

    def __init__(
        self,
        client: Client,
        credentials: Credentials,
        *,
        architecture: str | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._authorizer = Authorizer(client, credentials, clock=clock)
        self._architecture = architecture or host_architecture()
        self._distribution = Distribution(client, self._authorizer, self._architecture)
        self._locations = BlobLocations(self._authorizer)

    def resolve(self, ref: ModelRef) -> Artifact:
        """Pin a tag to its digest and list the files in the layers.

        Raises:
            NotFoundError: There is no such repository, tag or manifest, or it has no files.
            AuthError: The registry wants (other) credentials.
            NetworkError: It cannot be reached or answers nonsense.
            VerificationError: The manifest is not what its digest says, or has unsafe file names.
            UnsupportedModelError: It is no model, or none for this machine.
        """
        place = self._distribution.reach(ref)
        reference = ref.revision or "latest"
        digest, manifest = self._distribution.manifest(place, reference, shown=str(ref))
        files = layer_files(manifest.layers or ())
        if not files:
            raise NotFoundError(f"{ref} has no files")
        return Artifact(
            reference=str(ref),
            revision=digest,
            files=selected(ref, (blob_file(place, one) for one in files)),
        )

    def image(self, image: str) -> ImageOffer:
        """What the registry has under an image's name, without pulling it.

        Raises:
            NotFoundError: There is no such repository, tag or manifest.
            AuthError: The registry wants (other) credentials.
            NetworkError: It cannot be reached or answers nonsense.
        """
        return offer(self._distribution, image, self._architecture)

    def locate(self, file: File) -> Location:
        """Say where a blob is, with what the registry wants to see.

        Asked again for the same file, it renews a token that the registry no longer takes.

        Raises:
            AuthError: There are no credentials, or they are refused.
            NetworkError: The registry cannot be reached or answers nonsense.
        """
        return self._locations.locate(file)


def blob_file(place: Place, found: LayerFile) -> File:
    """The file whose bytes are a layer's."""
    sha256 = found.layer.sha256
    return File(
        path=found.path,
        url=place.url("blobs", f"sha256:{sha256}"),
        size=found.layer.size,
        digests={"sha256": sha256},
    )


def host_architecture() -> str:
    """This machine's processor in Go's terms."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())
