"""Pushing a model to an OCI registry: blobs that it lacks, then the manifest."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

from nimctl.core.errors import UsageError, VerificationError
from nimctl.core.events import Emit, Finished, Progressed, Started
from nimctl.core.http import HttpOptions
from nimctl.core.refs import ModelRef
from nimctl.http import Client
from nimctl.registries.oci import modelpack
from nimctl.registries.oci.auth import Authorizer, Credentials
from nimctl.registries.oci.manifests import OCI_MANIFEST
from nimctl.registries.oci.modelpack import ModelDescription, ModelFile
from nimctl.registries.oci.places import Place
from nimctl.registries.oci.reaching import reach
from nimctl.registries.oci.sender import Sender
from nimctl.registries.oci.uploads import Blob, BlobUploads


class OciPublisher:
    """Pushes models as CNCF ModelPack artifacts, one raw layer a file."""

    def __init__(
        self,
        client: Client,
        http: HttpOptions,
        credentials: Credentials,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._authorizer = Authorizer(client, credentials)
        self._http = http
        self._sleep = sleep

    def push(
        self,
        files: Sequence[ModelFile],
        ref: ModelRef,
        description: ModelDescription,
        emit: Emit,
        *,
        annotations: Mapping[str, str] | None = None,
        mount_from: str | None = None,
    ) -> str:
        """Push a model; returns the manifest's digest, `sha256:HEX`.

        The same files and description give the same digest. Blobs that the registry has already,
        or has in the repository `mount_from`, are not sent. The manifest goes last, so that a tag
        never stands for a part of a model. An emitted task is a file's path.

        Raises:
            UsageError: The reference asks for another digest, or there is nothing to push.
            AuthError: The registry wants (other) credentials.
            NetworkError: It cannot be reached or answers nonsense.
            VerificationError: A file has changed, or its name is unsafe.
        """
        if not files:
            raise UsageError("there are no files to push")
        place, layers = reach(self._client, ref), modelpack.ordered(files)
        config = modelpack.config(layers, description)
        config_blob = Blob.of_bytes(config)
        manifest = modelpack.manifest(layers, config_blob.sha256, len(config), annotations or {})
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        name = _name(ref, digest)
        scopes = place.scopes("pull,push", also_pull=mount_from)
        with Sender(place, scopes, self._authorizer, self._http) as sender:
            uploads = BlobUploads(place, sender, self._http, self._sleep, mount_from)
            for file in layers:
                _push_file(uploads, file, emit)
            uploads.ensure(config_blob, lambda _: None)
            _push_manifest(sender, place, name, manifest, digest)
        return digest


def _name(ref: ModelRef, digest: str) -> str:
    """What the manifest is put under."""
    if ref.revision and ref.revision.startswith("sha256:") and ref.revision != digest:
        raise UsageError(
            f"the model does not have the digest of {ref}",
            cause=f"it has {digest}",
            hint="name a tag: oci://HOST/REPOSITORY:TAG",
        )
    return ref.revision or "latest"


def _push_file(uploads: BlobUploads, file: ModelFile, emit: Emit) -> None:
    emit(Started(task=file.path, title=file.path, total=file.size))
    blob = Blob.of_file(file.source, file.sha256, file.size)
    was_sent = uploads.ensure(blob, lambda done: emit(Progressed(task=file.path, done=done)))
    emit(Finished(task=file.path, note=None if was_sent else "already there"))


def _push_manifest(sender: Sender, place: Place, name: str, manifest: bytes, digest: str) -> None:
    url = place.url("manifests", name)
    answer = sender.send("PUT", url, {"Content-Type": OCI_MANIFEST}, manifest)
    if answer.status != HTTPStatus.CREATED:
        raise sender.failure(answer)
    stored = answer.headers.get("docker-content-digest", digest)
    if stored != digest:
        raise VerificationError(
            f"{place.host} stored another manifest than it was sent",
            cause=f"it has {stored}, sent was {digest}",
        )
