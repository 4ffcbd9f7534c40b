"""The outside world as nimctl wishes it were; adapters obey these protocols."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from nimctl.core.containers import (
    Container,
    ContainerSpec,
    ContainerState,
    Image,
    RegistryLogin,
    Usage,
)
from nimctl.core.events import Emit
from nimctl.core.facts import Artifact, File
from nimctl.core.machine import ContainerEngine
from nimctl.core.refs import ModelRef
from nimctl.core.value import Value


class Location(Value):
    """Where a file's bytes can be had right now, with what the request must carry.

    `url` may be short-lived (presigned). `headers` are for the origin of `url` only: they never
    follow a redirect to another one, and are never logged. `cached` is a `file://` URL of the same
    bytes in another tool's cache, which nobody changes, but which may be damaged.
    """

    url: str
    headers: dict[str, str] = {}
    cached: str | None = None


class Fetched(Value):
    """One file that a transfer brought into the blob store; sizes in bytes.

    `bytes_reused` were there already: from the blob store, or from an earlier unfinished transfer.
    `etag` came with the bytes, without quotes; None where none did, or nothing was fetched.
    """

    path: str
    sha256: str
    size: int
    bytes_fetched: int
    bytes_reused: int
    etag: str | None = None


class Registry(Protocol):
    """Where artifacts come from."""

    def resolve(self, ref: ModelRef) -> Artifact:
        """Pin a reference to one revision and list its files.

        Raises:
            NotFoundError: There is no such model, revision or file.
            AuthError: The registry wants (other) credentials, or a licence accepted.
            NetworkError: It cannot be reached.
        """
        ...

    def locate(self, file: File) -> Location:
        """Say where a file's bytes are now; called again when that location has expired."""
        ...


class LogLines(Protocol):
    """Lines as they come; `close` ends them, also from another thread, and has to be called."""

    def __iter__(self) -> Iterator[str]: ...

    def close(self) -> None:
        """End the lines."""
        ...


class Containers(Protocol):
    """A container engine: Docker, or Podman behind the same API.

    Containers are named or given by id. Every method raises ContainerEngineError when the engine
    is not there, may not be used, or fails.
    """

    @property
    def is_local(self) -> bool:
        """Whether the ports of its containers are those of this machine."""
        ...

    def describe(self) -> ContainerEngine:
        """Say what the engine is and what it offers."""
        ...

    def image(self, reference: str) -> Image | None:
        """An image that the engine has already; None if it has not."""
        ...

    def pull(
        self,
        reference: str,
        emit: Emit,
        *,
        platform: str | None = None,
        login: RegistryLogin | None = None,
    ) -> Image:
        """Bring an image, with a task for it and one for each layer; `platform` `linux/amd64`.

        Raises:
            NotFoundError: There is no such image, or none for the platform.
            AuthError: The registry wants (other) credentials, or does not say which of the two.
            NetworkError: The registry cannot be reached from the engine.
            DiskFullError: The engine's disk is full.
        """
        ...

    def create(self, spec: ContainerSpec) -> str:
        """Create a container and return its id; nothing runs yet.

        Raises:
            NotFoundError: The engine does not have the image.
            UsageError: The name is taken, or a secret cannot be read.
        """
        ...

    def start(self, name: str) -> None:
        """Start a created or stopped container.

        Raises:
            UsageError: A port is taken.
            HardwareError: A device is not there, or the image is for another architecture.
        """
        ...

    def container(self, name: str) -> Container | None:
        """One container; None if there is none of this name."""
        ...

    def spec(self, name: str) -> ContainerSpec | None:
        """What a container was created with; None if there is none of this name."""
        ...

    def rename(self, name: str, new: str) -> None:
        """Give a container another name, whether it runs or not."""
        ...

    def containers(self, labels: Mapping[str, str | None]) -> tuple[Container, ...]:
        """Containers that carry all of these labels, None for any value, also ended ones."""
        ...

    def log(
        self,
        name: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since_s: float | None = None,
    ) -> LogLines:
        """Lines of stdout and stderr, without their ends; `since_s` is a Unix time."""
        ...

    def usage(self, name: str) -> Usage | None:
        """What a running container uses of the machine; None when it does not run."""
        ...

    def wait(self, name: str) -> int:
        """Block until a container ends; its exit status."""
        ...

    def stop(self, name: str, grace_s: float) -> bool:
        """Stop a container; False when it had to be killed."""
        ...

    def remove(self, name: str) -> None:
        """Remove a container, running or not, with its anonymous volumes; absent is well."""
        ...

    def run(self, spec: ContainerSpec, on_line: Callable[[str], None]) -> ContainerState:
        """Run a container to its end, hand on each line of its log, and remove it.

        It is removed also when this is interrupted or `on_line` raises.
        """
        ...

    def read_files(self, image: str, paths: Sequence[str]) -> dict[str, bytes]:
        """Those of these files that an image has, by path; nothing of the image runs.

        Raises:
            NotFoundError: The engine does not have the image.
        """
        ...
