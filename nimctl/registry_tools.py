"""The registries of one run: each is made on first use, with its credentials and its mirror."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nimctl.core.errors import OfflineError, UsageError
from nimctl.settings import Settings

if TYPE_CHECKING:
    from nimctl.core.containers import ImageOffer, RegistryLogin
    from nimctl.core.facts import Artifact, File
    from nimctl.core.http import HttpOptions
    from nimctl.core.ports import Location, Registry
    from nimctl.core.refs import ModelRef, Scheme
    from nimctl.http import Client
    from nimctl.registries.huggingface import HubCache
    from nimctl.registries.ngc.registry import NgcRegistry
    from nimctl.registries.oci import Credentials, OciPublisher, OciRegistry
    from nimctl.registries.s3 import Buckets

LOCAL_SCHEMES = ("file", "package")


class Registries:
    """Where models come from, and go to."""

    def __init__(self, settings: Settings, *, offline: bool = False) -> None:
        self.settings = settings
        self.offline = offline
        self._made: dict[str, Registry] = {}

    @cached_property
    def http(self) -> "Client":
        """The control-plane HTTP client."""
        from nimctl.http import Client

        return Client(self._http_options)

    @cached_property
    def _http_options(self) -> "HttpOptions":
        from nimctl.core.http import HttpOptions

        return HttpOptions(
            proxies=self.settings.proxies,
            ca_file=self.settings.ca_file,
            netrc_file=self.settings.netrc_file,
        )

    def is_offline(self, scheme: "Scheme") -> bool:
        """Whether a scheme's registry may not be asked."""
        is_hub = scheme == "hf" and scheme not in self.settings.mirrors
        return self.offline or (is_hub and self.settings.hf_offline)

    def find(self, scheme: "Scheme") -> "Registry":
        """The registry that serves a reference's scheme."""
        if scheme not in self._made:
            self._made[scheme] = self._make(scheme)
        return self._made[scheme]

    def _make(self, scheme: "Scheme") -> "Registry":
        if scheme in LOCAL_SCHEMES:
            from nimctl.registries.local import LocalRegistry

            return LocalRegistry(Path(__file__).parent / "models")
        if self.offline:
            reason = "--offline is given"
            return self._offline_hub(reason) if scheme == "hf" else _Unreachable(reason)
        if scheme in self.settings.mirrors:
            return self._mirror(scheme, self.settings.mirrors[scheme])
        makers: dict[str, Callable[[], Registry]] = {
            "ngc": self.ngc,
            "hf": self._hugging_face,
            "oci": self._oci,
            "ollama": self._ollama,
            "s3": self._s3,
        }
        return makers.get(scheme, self._web)()

    def ngc(self) -> "NgcRegistry":
        """NVIDIA's registry, which also lists versions.

        Raises:
            UsageError: A mirror stands for it.
        """
        mirror = self.settings.mirrors.get("ngc")
        if mirror:
            raise UsageError(
                f"the mirror {mirror} stands for NGC, and mirrors have no list of versions",
                hint="unset NIM_REPOSITORY_OVERRIDE and NIMCTL_MIRROR_NGC, also in config.toml",
            )
        from nimctl.core.ngc import credential
        from nimctl.registries.ngc.registry import NgcRegistry

        settings = self.settings
        owner = credential(self.ngc_key(), guest_token=settings.ngc_guest_token)
        return NgcRegistry(self.http, settings.ngc_api_url, settings.ngc_auth_url, owner)

    def ngc_key(self) -> str | None:
        """NGC's API key, of the environment, of `login` or of NVIDIA's own client."""
        from nimctl.registries.ngc.config import read_ngc_config

        settings = self.settings
        kept = settings.ngc_api_key or self._kept("ngc")
        return kept or read_ngc_config(Path(settings.ngc_config)).api_key

    def _hugging_face(self) -> "Registry":
        from nimctl.registries.huggingface import HuggingFaceRegistry

        if self.settings.hf_offline:
            return self._offline_hub("HF_HUB_OFFLINE is set")
        return HuggingFaceRegistry(
            endpoint=self.settings.hf_endpoint,
            token=self.settings.hf_token or self._kept("hf"),
            cache=self._hub_cache,
            http=self._http_options,
        )

    def _offline_hub(self, reason: str) -> "Registry":
        from nimctl.registries.huggingface import OfflineHub

        return OfflineHub(self.settings.hf_endpoint, self._hub_cache, reason)

    @cached_property
    def _hub_cache(self) -> "HubCache":
        from nimctl.registries.huggingface import HubCache

        return HubCache(Path(self.settings.hf_cache) if self.settings.hf_cache else None)

    def _oci(self) -> "OciRegistry":
        from nimctl.registries.oci import OciRegistry

        return OciRegistry(self.http, self._docker_credentials)

    def _ollama(self) -> "Registry":
        from nimctl.registries.ollama import OllamaKey, OllamaRegistry

        return OllamaRegistry(self.http, OllamaKey(Path(self.settings.ollama_key)))

    def _s3(self) -> "Registry":
        from nimctl.registries.s3 import S3Registry

        return S3Registry(self._buckets)

    def _mirror(self, scheme: "Scheme", base: str) -> "Registry":
        from nimctl.registries.mirrors import BucketMirror, TreeMirror

        if base.startswith("s3://"):
            return BucketMirror(scheme, base, self._buckets)
        return TreeMirror(scheme, base, lambda: self.http)

    @cached_property
    def _buckets(self) -> "Buckets":
        from nimctl.registries.s3 import Buckets, read_site

        return Buckets(self.http, read_site(self.settings.aws))

    def _web(self) -> "Registry":
        from nimctl.registries.web import WebRegistry

        return WebRegistry(self.http)

    @cached_property
    def _docker_credentials(self) -> "Credentials":
        from nimctl import keychain
        from nimctl.registries.oci import DockerCredentials, KeyringLogins

        files = DockerCredentials([Path(one) for one in self.settings.docker_auth_files])
        return KeyringLogins(self.settings.logins.keyring, keychain.read, files)

    def _kept(self, name: str) -> str | None:
        """A token from the system's keyring, if `nimctl login` put one there."""
        if name not in self.settings.logins.keyring:
            return None
        from nimctl import keychain

        return keychain.read(name)

    @cached_property
    def publisher(self) -> "OciPublisher":
        """Pushes models to OCI registries."""
        from nimctl.registries.oci import OciPublisher

        return OciPublisher(self.http, self._http_options, self._docker_credentials)

    def image_login(self, image: str) -> "RegistryLogin | None":
        """What the engine is to tell an image's registry; None for a public one."""
        from nimctl.core.containers import RegistryLogin, image_registry
        from nimctl.registries.oci import Login

        registry, repository = image_registry(image)
        found = self._docker_credentials.login(registry, repository)
        if isinstance(found, Login):
            return RegistryLogin(username=found.username, password=found.password)
        key = self.ngc_key() if registry == "nvcr.io" else None
        if key:
            # https://docs.nvidia.com/ngc/gpu-cloud/ngc-catalog-user-guide/: the name is the same
            # for every key.
            return RegistryLogin(username="$oauthtoken", password=key)
        return None

    def image_offer(self, image: str) -> "ImageOffer | None":
        """What an image's registry has; None when it cannot be asked, which the engine may can.

        Raises:
            NotFoundError: There is no such image.
        """
        from nimctl.core.errors import AuthError, NetworkError

        try:
            return self._oci().image(image)
        except (AuthError, NetworkError):
            return None

    def close(self) -> None:
        """Close what was opened."""
        if "http" in self.__dict__:
            self.http.close()


class _Unreachable:
    """The registry of a run that may not use the network."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def resolve(self, ref: "ModelRef") -> "Artifact":
        raise OfflineError(
            f"{ref} is not in the store", cause=self._reason, hint=f"nimctl pull '{ref}' online"
        )

    def locate(self, file: "File") -> "Location":
        raise OfflineError(
            f"{file.path} is not in the store", cause=self._reason, hint="run it again online"
        )
