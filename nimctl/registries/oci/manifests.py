"""Manifests and indexes, as far as nimctl reads them, and the choice among an index. Pure.

https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md and image-index.md
"""

import hashlib
from typing import Annotated

import msgspec

from nimctl.core.errors import UnsupportedModelError, VerificationError
from nimctl.core.names import checked_digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
ACCEPTED = (
    OCI_MANIFEST,
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
# Of CNCF ModelPack, and of the same project before it joined the CNCF.
_MODEL_TYPES = ("application/vnd.cncf.model.", "application/vnd.cnai.model.")


class Platform(msgspec.Struct, frozen=True):
    """What an entry of an index is for."""

    os: str = ""
    architecture: str = ""

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """A pointer to a blob or a manifest; `size` in bytes."""

    digest: str
    size: Annotated[int, msgspec.Meta(ge=0)]
    media_type: str = ""
    artifact_type: str | None = None
    annotations: dict[str, str] | None = None
    platform: Platform | None = None

    @property
    def sha256(self) -> str:
        """The digest's hex digits.

        Raises:
            VerificationError: It is no sha256 digest.
        """
        algorithm, _, digest = self.digest.partition(":")
        if algorithm != "sha256":
            raise VerificationError(f"the registry gives {self.digest!r}, which is no sha256")
        return checked_digest("sha256", digest)

    def annotation(self, key: str) -> str | None:
        """The value of an annotation; None when there is none."""
        return (self.annotations or {}).get(key)


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """A manifest, which has layers, or an index, which has manifests."""

    schema_version: int
    media_type: str = ""
    artifact_type: str | None = None
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] | None = None
    manifests: tuple[Descriptor, ...] | None = None


def decode(body: bytes) -> Manifest:
    """Read a manifest or an index.

    Raises:
        VerificationError: It is neither, or both, which readers could understand differently
            (https://github.com/opencontainers/distribution-spec/security/advisories/GHSA-mc8v-mgrf-8f4m).
    """
    try:
        manifest = msgspec.json.decode(body, type=Manifest)
    except msgspec.DecodeError as error:
        raise VerificationError("the manifest is malformed", cause=str(error)) from error
    if (manifest.layers is None) == (manifest.manifests is None):
        raise VerificationError(
            "the manifest is malformed", cause="it needs either `layers` or `manifests`"
        )
    return manifest


def checked_body(body: bytes, *, named: str | None, asked: str | None) -> str:
    """The digest of a manifest's bytes, `sha256:HEX`, which is what it has to be.

    `named` is the answer's Docker-Content-Digest, `asked` the request's digest; None if absent.

    Raises:
        VerificationError: The bytes have another digest.
    """
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    for expected in (asked, named):
        # A digest of another algorithm can only be the registry's own addition.
        if expected is not None and expected.startswith("sha256:") and expected != digest:
            raise VerificationError(
                "the manifest is not what its digest says",
                cause=f"it has {digest}, expected is {expected}",
                hint="try again later; if it stays, the registry or a proxy on the way is at fault",
            )
    return digest


def choose(index: Manifest, architecture: str) -> Descriptor:
    """The manifest that is meant: the only one, the model, or the one for linux/`architecture`.

    Raises:
        UnsupportedModelError: There is none such, or more than one.
    """
    entries = [entry for entry in index.manifests or () if not _is_attestation(entry)]
    models = [entry for entry in entries if (entry.artifact_type or "").startswith(_MODEL_TYPES)]
    ours = Platform(os="linux", architecture=architecture)
    fitting = [entry for entry in entries if entry.platform == ours]
    for candidates in (entries, models, fitting):
        if len(candidates) == 1:
            return candidates[0]
    offered = ", ".join(str(entry.platform or entry.artifact_type) for entry in entries)
    raise UnsupportedModelError(
        f"nothing in the index is for {ours} alone",
        cause=f"it has {offered or 'nothing'}",
        hint="name one of its manifests by digest: oci://HOST/REPOSITORY@sha256:HEX",
    )


def _is_attestation(entry: Descriptor) -> bool:
    """Whether it describes how another entry was built.

    https://docs.docker.com/build/metadata/attestations/attestation-storage/
    """
    return entry.annotation("vnd.docker.reference.type") == "attestation-manifest"
