"""Models in Ollama's registry, public ones and those of the owner of a key."""

from nimctl.core.errors import AuthError, NotFoundError
from nimctl.core.facts import Artifact, File
from nimctl.core.ports import Location
from nimctl.core.refs import ModelRef
from nimctl.http import Client
from nimctl.registries.oci.auth import Authorizer
from nimctl.registries.oci.distribution import Distribution
from nimctl.registries.oci.layers import layer_files
from nimctl.registries.oci.locations import BlobLocations
from nimctl.registries.oci.places import Place
from nimctl.registries.oci.registry import blob_file, host_architecture
from nimctl.registries.ollama.key import OllamaKey, UnusableKeyError

_KEY_HINTS = {
    True: "check the name; for a private model add the key to an account: `ollama signin`, or "
    "~/.ollama/id_ed25519.pub at https://ollama.com/settings/keys",
    False: "check the name at https://ollama.com/search; for a private model, `ollama signin`",
}
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
    """Models that `key` opens, and public ones; `base_url` is a registry with the same layers."""

    def __init__(
        self, client: Client, key: OllamaKey, base_url: str = "https://registry.ollama.ai"
    ) -> None:
        self._base = base_url.rstrip("/")
        self._key = key
        authorizer = Authorizer(client, key)
        self._locations = BlobLocations(authorizer)
        self._distribution = Distribution(client, authorizer, host_architecture())

    def resolve(self, ref: ModelRef) -> Artifact:
        """Pin a tag to its digest and name the layers' files.

        Raises:
            NotFoundError: There is no such model or tag, or it has no files.
            AuthError: The model is private, and the key does not open it.
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
        except UnusableKeyError:
            raise
        except AuthError as error:
            has_key = self._key.login(place.host, place.repository) is not None
            raise AuthError(
                f"{ref} does not exist, or it is private",
                cause=error.cause,
                hint=_KEY_HINTS[has_key],
            ) from error
        files = layer_files(manifest.layers or (), _NAMES)
        if not files:
            raise NotFoundError(f"{ref} has no files")
        return Artifact(
            reference=str(ref), revision=digest, files=tuple(blob_file(place, one) for one in files)
        )

    def locate(self, file: File) -> Location:
        """Say where a file is, with a token if the registry has asked for one."""
        return self._locations.locate_public(file)
