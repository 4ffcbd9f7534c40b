"""Models in Ollama's registry: `ollama://[NAMESPACE/]NAME[:TAG]`.

It speaks the distribution API, and layers are told apart by their media types:
https://github.com/ollama/ollama/blob/main/server/create.go
"""

from nimctl.core.errors import AuthError, NotFoundError
from nimctl.core.facts import Artifact, File
from nimctl.core.ports import Location
from nimctl.core.refs import ModelRef
from nimctl.http import Client
from nimctl.registries.oci.auth import Authorizer, NoCredentials
from nimctl.registries.oci.distribution import Distribution
from nimctl.registries.oci.layers import layer_files
from nimctl.registries.oci.places import Place
from nimctl.registries.oci.registry import blob_file, host_architecture

_LAYER = "application/vnd.ollama.image."
_NAMES = {
    f"{_LAYER}model": "model.gguf",
    f"{_LAYER}projector": "mmproj.gguf",
    f"{_LAYER}adapter": "adapter.gguf",
    f"{_LAYER}template": "template",
    f"{_LAYER}params": "params.json",
    f"{_LAYER}system": "system",
    f"{_LAYER}license": "LICENSE",
    f"{_LAYER}messages": "messages.json",
}


class OllamaRegistry:
    """Public models; `base_url` is another registry with the same layers."""

    def __init__(self, client: Client, base_url: str = "https://registry.ollama.ai") -> None:
        self._base = base_url.rstrip("/")
        authorizer = Authorizer(client, NoCredentials())
        self._distribution = Distribution(client, authorizer, host_architecture())

    def resolve(self, ref: ModelRef) -> Artifact:
        """Pin a tag to its digest and name the layers' files.

        Raises:
            NotFoundError: There is no such model or tag, or it has no files.
            AuthError: The model is private.
            NetworkError: The registry cannot be reached or answers nonsense.
            VerificationError: The manifest is not what its digest says.
            UnsupportedModelError: A layer is of a type that nimctl does not know.
        """
        name = ref.path if "/" in ref.path else f"library/{ref.path}"
        place = Place(self._base, self._base.partition("://")[2], name)
        try:
            digest, manifest = self._distribution.manifest(
                place, ref.revision or "latest", shown=str(ref)
            )
        except AuthError as error:
            raise AuthError(
                f"{ref} does not exist, or it is private",
                cause=error.cause,
                hint="nimctl pulls public models; check the name at https://ollama.com/search",
            ) from error
        files = layer_files(manifest.layers or (), _NAMES)
        if not files:
            raise NotFoundError(f"{ref} has no files")
        return Artifact(
            reference=str(ref), revision=digest, files=tuple(blob_file(place, one) for one in files)
        )

    def locate(self, file: File) -> Location:
        """Say where a file is: where it was; public blobs need no credentials."""
        return Location(url=file.url)
