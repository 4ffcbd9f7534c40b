"""The composition root: makes each adapter on first use and closes it."""

import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from nimctl.core.errors import OfflineError, UsageError
from nimctl.core.layout import Layout
from nimctl.core.requests import TransferLimits
from nimctl.settings import Settings

if TYPE_CHECKING:
    from nimctl.catalog import Catalog
    from nimctl.core.containers import ImageOffer, RegistryLogin
    from nimctl.core.facts import Artifact, File
    from nimctl.core.http import HttpOptions
    from nimctl.core.machine import Host
    from nimctl.core.ports import Containers, Location, Registry
    from nimctl.core.refs import ModelRef, Scheme
    from nimctl.core.trtllm.job import EngineJob
    from nimctl.engines.llama_cpp import LlamaCppBuilder
    from nimctl.engines.trtllm.builder import TrtllmBuilder
    from nimctl.http import Client
    from nimctl.registries.ngc import NgcRegistry
    from nimctl.registries.oci import Credentials, OciPublisher, OciRegistry
    from nimctl.registries.s3 import Buckets
    from nimctl.serving.container_servers import ContainerServers
    from nimctl.serving.docker import DockerEngine
    from nimctl.serving.embedded import EmbeddedServers
    from nimctl.serving.front import Launcher
    from nimctl.store.artifacts import ArtifactStore
    from nimctl.store.blobs import BlobStore
    from nimctl.store.engines import EngineStore
    from nimctl.store.modelstore import ModelStore
    from nimctl.store.transfer import Transfer
    from nimctl.store.unpack import Unpacker

LOCAL_SCHEMES = ("file", "package")


class Tools:
    """All adapters of one nimctl run."""

    def __init__(
        self,
        settings: Settings,
        *,
        offline: bool = False,
        limits: TransferLimits | None = None,
        machine: "Host | None" = None,
    ) -> None:
        self.settings = settings
        self.offline = offline
        self._limits = limits or TransferLimits()
        self._machine = machine
        self.layout = Layout(home=settings.home)
        self.python = sys.executable
        self._registries: dict[str, Registry] = {}

    def host(self) -> "Host":
        """Observe this machine, or tell of the one that is planned for."""
        if self._machine is not None:
            return self._machine
        from nimctl.host.observe import observe
        from nimctl.host.probe import Sources

        return observe(self.layout.root, Sources(search_path=self.settings.search_path))

    @cached_property
    def catalog(self) -> "Catalog":
        """The user's catalogue and the shipped one."""
        from nimctl.catalog import Catalog, packaged_directory

        return Catalog(Path(self.settings.profiles_directory), packaged_directory())

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

    def registry(self, scheme: "Scheme") -> "Registry":
        """The registry that serves a reference's scheme."""
        if scheme not in self._registries:
            self._registries[scheme] = self._make_registry(scheme)
        return self._registries[scheme]

    def _make_registry(self, scheme: "Scheme") -> "Registry":
        if scheme in LOCAL_SCHEMES:
            from nimctl.registries.local import LocalRegistry

            return LocalRegistry(Path(__file__).parent / "models")
        if self.offline:
            return _Unreachable("--offline is given")
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
        from nimctl.registries.ngc import NgcRegistry

        settings = self.settings
        owner = credential(self.ngc_key(), guest_token=settings.ngc_guest_token)
        return NgcRegistry(self.http, settings.ngc_api_url, settings.ngc_auth_url, owner)

    def ngc_key(self) -> str | None:
        """NGC's API key, of the environment, of `login` or of NVIDIA's own client."""
        from nimctl.registries.ngc import read_ngc_config

        settings = self.settings
        kept = settings.ngc_api_key or self._kept("ngc")
        return kept or read_ngc_config(Path(settings.ngc_config)).api_key

    def _hugging_face(self) -> "Registry":
        from nimctl.registries.huggingface import HuggingFaceRegistry

        if self.settings.hf_offline:
            return _Unreachable("HF_HUB_OFFLINE is set")
        return HuggingFaceRegistry(
            endpoint=self.settings.hf_endpoint,
            token=self.settings.hf_token or self._kept("hf"),
            cache_dir=Path(self.settings.hf_cache) if self.settings.hf_cache else None,
            http=self._http_options,
        )

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

    @cached_property
    def blobs(self) -> "BlobStore":
        """Verified files by sha256."""
        from nimctl.store.blobs import BlobStore

        return BlobStore(self.layout)

    @cached_property
    def artifacts(self) -> "ArtifactStore":
        """Pinned artifacts."""
        from nimctl.store.artifacts import ArtifactStore

        return ArtifactStore(self.layout)

    @cached_property
    def engines(self) -> "EngineStore":
        """Built engines."""
        from nimctl.store.engines import EngineStore

        return EngineStore(self.layout)

    @cached_property
    def models(self) -> "ModelStore":
        """The model store."""
        from nimctl.store.modelstore import ModelStore

        return ModelStore(self.layout, self.blobs)

    @cached_property
    def transfer(self) -> "Transfer":
        """Brings files into the blob store."""
        from nimctl.store.transfer import Transfer, TransferOptions

        limits = self._limits
        return Transfer(
            self.blobs,
            TransferOptions(
                connections=limits.connections or TransferOptions().connections,
                range_bytes=limits.range_bytes or TransferOptions().range_bytes,
                max_rate=limits.max_rate,
                proxies=self.settings.proxies,
                ca_file=self.settings.ca_file,
                netrc_file=self.settings.netrc_file,
            ),
        )

    @cached_property
    def unpacker(self) -> "Unpacker":
        """Unpacks archives while they arrive."""
        from nimctl.store.unpack import Unpacker

        return Unpacker(self.layout)

    @cached_property
    def builder(self) -> "LlamaCppBuilder":
        """Builds engines."""
        from nimctl.engines.llama_cpp import LlamaCppBuilder

        return LlamaCppBuilder()

    def trtllm_builder(self, job: "EngineJob") -> "TrtllmBuilder":
        """Builds engines of TensorRT-LLM where a job says."""
        from nimctl.engines.trtllm.builder import TrtllmBuilder
        from nimctl.engines.trtllm.runners import ContainerRunner, LocalRunner

        if job.image:
            return TrtllmBuilder(ContainerRunner(self.containers))
        return TrtllmBuilder(LocalRunner())

    @cached_property
    def servers(self) -> "EmbeddedServers":
        """Embedded servers."""
        from nimctl.serving.embedded import EmbeddedServers

        return EmbeddedServers(self.layout)

    def with_container_engine(self, host: "Host") -> "Host":
        """The host with its container engine; what keeps one from answering becomes a trouble."""
        import msgspec

        from nimctl.core.errors import ContainerEngineError
        from nimctl.core.machine import Trouble

        try:
            engine = self.containers.describe()
        except ContainerEngineError as error:
            words = f"{error.message}: {error.cause}" if error.cause else error.message
            trouble = Trouble(kind="no-container-engine", message=words)
            return msgspec.structs.replace(host, troubles=(*host.troubles, trouble))
        return msgspec.structs.replace(host, container_engine=engine)

    @property
    def user(self) -> str:
        """UID:GID that containers run as: the caller's, but never root's."""
        import os

        uid = os.getuid()
        return f"{uid}:{os.getgid()}" if uid else "1000:1000"

    @cached_property
    def container_servers(self) -> "ContainerServers":
        """Servers in containers."""
        from nimctl.serving.container_servers import ContainerServers

        return ContainerServers(self.containers, self.ngc_key())

    @cached_property
    def launcher(self) -> "Launcher":
        """Starts servers of either kind."""
        from nimctl.serving.front import Launcher

        return Launcher(self.servers, self.container_servers)

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

    @cached_property
    def containers(self) -> "Containers":
        """The container engine; it is looked for when it is first asked something."""
        return self._docker

    @cached_property
    def _docker(self) -> "DockerEngine":
        from nimctl.serving.docker import DockerEngine

        return DockerEngine(self.settings.container_engine)

    def close(self) -> None:
        """Close what was opened."""
        if "_docker" in self.__dict__:
            self._docker.close()
        if "http" in self.__dict__:
            self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
