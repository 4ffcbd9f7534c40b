"""The composition root: makes each adapter on first use and closes it."""

import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from nimctl.core.layout import Layout
from nimctl.core.requests import TransferLimits
from nimctl.registry_tools import Registries
from nimctl.settings import Settings

if TYPE_CHECKING:
    from nimctl.catalog import Catalog
    from nimctl.core.machine import ContainerEngine, Host
    from nimctl.core.ports import Containers
    from nimctl.core.trtllm.job import EngineJob
    from nimctl.core.trtllm.machine import Installed
    from nimctl.engines.llama_cpp import LlamaCppBuilder
    from nimctl.engines.trtllm.builder import TrtllmBuilder
    from nimctl.serving.container_servers import ContainerServers
    from nimctl.serving.docker.engine import DockerEngine
    from nimctl.serving.embedded import EmbeddedServers
    from nimctl.serving.first_start import FirstStart
    from nimctl.serving.groups import Groups
    from nimctl.serving.servers import Servers
    from nimctl.store.artifacts import ArtifactStore
    from nimctl.store.blobs import BlobStore
    from nimctl.store.engines import EngineStore
    from nimctl.store.kernels import KernelStore
    from nimctl.store.modelstore import ModelStore
    from nimctl.store.nimcache import NimCache
    from nimctl.store.transfer import Transfer
    from nimctl.store.unfinished import Unfinished
    from nimctl.store.unpack import Unpacker


class Tools:
    """All adapters of one nimctl run.

    `engine_answer_s` is for how long the container engine may be silent when it is asked something.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        offline: bool = False,
        limits: TransferLimits | None = None,
        machine: "Host | None" = None,
        engine_answer_s: int | None = None,
    ) -> None:
        self.settings = settings
        self._engine_answer_s = engine_answer_s
        self.offline = offline
        self._limits = limits or TransferLimits()
        self._machine = machine
        self.layout = Layout(home=settings.home)
        self.python = sys.executable
        self.registries = Registries(settings, offline=offline)

    def host(self) -> "Host":
        """Observe this machine, or tell of the one that is planned for."""
        if self._machine is not None:
            return self._machine
        from nimctl.host.observe import observe
        from nimctl.host.probe import Sources

        return observe(self.layout.root, Sources(search_path=self.settings.search_path))

    def installed_trtllm(self) -> "Installed | None":
        """A TensorRT-LLM that is installed on this machine."""
        from nimctl.engines.trtllm.installed import find

        return find(self.settings.search_path)

    @cached_property
    def catalog(self) -> "Catalog":
        """The user's catalogue and the shipped one."""
        from nimctl.catalog import Catalog, packaged_directory

        return Catalog(Path(self.settings.profiles_directory), packaged_directory())

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
    def unfinished(self) -> "Unfinished":
        """What fetches need that have not ended."""
        from nimctl.store.unfinished import Unfinished

        return Unfinished(self.layout)

    @cached_property
    def engines(self) -> "EngineStore":
        """Built engines."""
        from nimctl.store.engines import EngineStore

        return EngineStore(self.layout)

    @cached_property
    def kernels(self) -> "KernelStore":
        """What servers compiled."""
        from nimctl.store.kernels import KernelStore

        return KernelStore(self.layout)

    @property
    def first_start(self) -> "FirstStart":
        """Starts servers for what they compile."""
        from nimctl.serving.first_start import FirstStart

        return FirstStart(self.containers, self.container_servers)

    @cached_property
    def models(self) -> "ModelStore":
        """The model store."""
        from nimctl.store.modelstore import ModelStore

        return ModelStore(self.layout, self.blobs)

    @cached_property
    def nim_cache(self) -> "NimCache":
        """Lays files out for NIM's containers."""
        from nimctl.store.nimcache import NimCache

        return NimCache(self.layout, self.blobs)

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
    def servers(self) -> "Servers":
        """All servers."""
        from nimctl.serving.servers import Servers

        return Servers(self.embedded_servers, lambda: self.container_servers)

    @cached_property
    def groups(self) -> "Groups":
        """Servers with their routers and replicas."""
        from nimctl.serving.groups import Groups

        return Groups(self.servers, lambda: self.container_servers, self.layout)

    def let_go(self) -> None:
        """Leave the servers that were launched to themselves."""
        if "servers" in self.__dict__:
            self.servers.let_go()

    @cached_property
    def embedded_servers(self) -> "EmbeddedServers":
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

    def user(self, engine: "ContainerEngine | None") -> str:
        """UID:GID that containers of an engine run as."""
        import os

        from nimctl.core.containers import user_inside

        rootless = engine is not None and engine.rootless
        return user_inside(os.getuid(), os.getgid(), rootless=rootless)

    @cached_property
    def container_servers(self) -> "ContainerServers":
        """Servers in containers."""
        from nimctl.serving.container_servers import ContainerServers

        return ContainerServers(self.containers, self.layout.home, self.registries.ngc_key)

    @property
    def containers(self) -> "Containers":
        """The container engine.

        Raises:
            NoContainerEngineError: There is none; the SDK is not loaded to find that out.
        """
        return self._docker

    @cached_property
    def _docker(self) -> "DockerEngine":
        from nimctl.serving.docker.endpoints import endpoints, require_one

        candidates = endpoints(self.settings.container_engine)
        require_one(candidates)
        from nimctl.serving.docker.engine import DockerEngine

        return DockerEngine(candidates, self._engine_answer_s)

    def close(self) -> None:
        """Close what was opened."""
        if "_docker" in self.__dict__:
            self._docker.close()
        self.registries.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
