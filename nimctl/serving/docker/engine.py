"""The container engine: Docker, or Podman behind the same API."""

import contextlib
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import requests
from docker import APIClient
from docker.errors import APIError, NotFound

from nimctl.core.containers import (
    OFFLINE_NETWORKS,
    Container,
    ContainerSpec,
    ContainerState,
    Image,
    RegistryLogin,
    Usage,
    needs_entrypoint,
)
from nimctl.core.errors import ContainerEngineError, NotFoundError, UsageError
from nimctl.core.events import Emit
from nimctl.core.machine import ContainerEngine
from nimctl.serving.docker import images, networks
from nimctl.serving.docker.connection import ANSWER_S, Connection, connect
from nimctl.serving.docker.create import payload
from nimctl.serving.docker.endpoints import Endpoint
from nimctl.serving.docker.failures import translated
from nimctl.serving.docker.logs import LogStream
from nimctl.serving.docker.observed import container_of, state_of, usage_of
from nimctl.serving.docker.restore import spec_of

_KILLED = 137


class DockerEngine:
    """Obeys `Containers` in core/ports.py; connects on first use.

    `answer_s` is for how long the engine may be silent when it is asked something.
    """

    def __init__(self, candidates: Iterable[Endpoint], answer_s: int | None = None) -> None:
        self._candidates = tuple(candidates)
        self._answer_s = answer_s or ANSWER_S

    @cached_property
    def _connection(self) -> Connection:
        return connect(self._candidates, self._answer_s)

    @property
    def _client(self) -> APIClient:
        return self._connection.client

    @property
    def _where(self) -> str:
        return self._connection.endpoint.url

    @property
    def is_local(self) -> bool:
        """Whether the ports of its containers are those of this machine."""
        return self._connection.publishes_here

    def describe(self) -> ContainerEngine:
        """Say what the engine is and what it offers."""
        return self._connection.describe()

    def image(self, reference: str) -> Image | None:
        """An image that the engine has."""
        return images.find(self._client, reference, self._where)

    def pull(
        self,
        reference: str,
        emit: Emit,
        *,
        platform: str | None = None,
        login: RegistryLogin | None = None,
    ) -> Image:
        """Bring an image."""
        images.pull(
            self._client, reference, emit, platform=platform, login=login, where=self._where
        )
        image = self.image(reference)
        if image is None:
            raise ContainerEngineError(f"{reference} was pulled, but the engine does not have it")
        return image

    def create(self, spec: ContainerSpec) -> str:
        """Create a container."""
        if spec.secrets:
            # A rootless engine has user numbers of its own.
            user = None if self.describe().rootless else spec.user
            for secret in spec.secrets:
                _check_secret(Path(secret.source), user)
        if needs_entrypoint(spec):
            spec = _with_entrypoint(spec, self._required(spec.image))
        if spec.network in OFFLINE_NETWORKS:
            podman = self._connection.kind == "podman"
            networks.ensure_offline(self._client, spec.network, self._where, podman=podman)
        with translated(f"creating {spec.name}", self._where):
            made: dict[str, Any] = self._client.create_container_from_config(
                payload(spec), spec.name, spec.platform
            )
        if spec.devices:
            self._check_devices(str(made["Id"]), spec)
        return str(made["Id"])

    def _check_devices(self, made: str, spec: ContainerSpec) -> None:
        """Podman takes device requests and forgets them: then nothing would run on the GPU.

        Seen with 4.3 and 4.9: https://github.com/containers/podman/issues/22645.
        """
        with translated(f"creating {spec.name}", self._where):
            host = self._client.inspect_container(made)["HostConfig"]
        if host.get("DeviceRequests") or host.get("Devices"):
            return
        self.remove(made)
        engine = self.describe()
        raise ContainerEngineError(
            f"{engine.kind} {engine.version} gave {spec.name} no GPU",
            cause="its Docker-compatible API ignores device requests",
            hint="run the line of --dry-run with podman in the place of docker; "
            "nimctl then knows the server all the same",
        )

    def start(self, name: str) -> None:
        """Start a container."""
        with translated(f"starting {name}", self._where):
            self._client.start(name)

    def container(self, name: str) -> Container | None:
        """One container."""
        with translated(f"looking for {name}", self._where):
            try:
                return container_of(self._client.inspect_container(name))
            except NotFound:
                return None

    def spec(self, name: str) -> ContainerSpec | None:
        """What a container was created with."""
        with translated(f"looking for {name}", self._where):
            try:
                found: dict[str, Any] = self._client.inspect_container(name)
            except NotFound:
                return None
        return spec_of(found, self.image(str(found["Image"])))

    def rename(self, name: str, new: str) -> None:
        """Give a container another name."""
        with translated(f"renaming {name}", self._where):
            self._client.rename(name, new)

    def containers(self, labels: Mapping[str, str | None]) -> tuple[Container, ...]:
        """Containers that carry these labels."""
        wanted = [key if value is None else f"{key}={value}" for key, value in labels.items()]
        with translated("listing containers", self._where):
            rows = self._client.containers(all=True, filters={"label": wanted})
        found = (self.container(str(row["Id"])) for row in rows)
        return tuple(sorted((one for one in found if one), key=lambda one: one.name))

    def log(
        self,
        name: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since_s: float | None = None,
    ) -> LogStream:
        """Lines of a container's log."""
        return LogStream(self._client, name, self._where, follow=follow, tail=tail, since_s=since_s)

    def usage(self, name: str) -> Usage | None:
        """What a running container uses."""
        with translated(f"asking what {name} uses", self._where):
            try:
                return usage_of(self._client.stats(name, stream=False, one_shot=True))
            except NotFound:
                return None

    def wait(self, name: str) -> int:
        """Block until a container ends."""
        with translated(f"waiting for {name}", self._where):
            # The SDK's own timeout is for answers, and this one takes as long as it takes.
            answer = self._client.wait(name, timeout=_FOREVER_S)
        return int(answer["StatusCode"])

    def stop(self, name: str, grace_s: float) -> bool:
        """Stop a container; False when it had to be killed."""
        with translated(f"stopping {name}", self._where):
            self._client.stop(name, timeout=round(grace_s))
        found = self.container(name)
        return found is None or found.state.exit_code != _KILLED

    def remove(self, name: str) -> None:
        """Remove a container; absent is well."""
        with translated(f"removing {name}", self._where):
            try:
                self._client.remove_container(name, v=True, force=True)
            except NotFound:
                return
            except APIError as error:
                # Another removal is under way already, which is as well.
                if error.status_code != requests.codes.conflict:
                    raise

    def run(self, spec: ContainerSpec, on_line: Callable[[str], None]) -> ContainerState:
        """Run a container to its end and remove it."""
        name = self.create(spec)
        try:
            self.start(name)
            with contextlib.closing(self.log(name, follow=True)) as log:
                for line in log:
                    on_line(line)
            self.wait(name)
            with translated(f"asking how {spec.name} ended", self._where):
                return state_of(self._client.inspect_container(name)["State"])
        finally:
            self.remove(name)

    def read_files(self, image: str, paths: Sequence[str]) -> dict[str, bytes]:
        """Files out of an image, through a container that is created and never started."""
        self._required(image)
        spec = ContainerSpec(
            name=f"nimctl-read-{secrets.token_hex(4)}", image=image, command=("true",)
        )
        name = self.create(spec)
        try:
            return images.read_files(self._client, name, paths, self._where)
        finally:
            self.remove(name)

    def _required(self, reference: str) -> Image:
        image = self.image(reference)
        if image is None:
            raise NotFoundError(f"the engine does not have the image {reference}")
        return image

    def close(self) -> None:
        """Close the connection, if there is one."""
        if "_connection" in self.__dict__:
            with contextlib.suppress(OSError):
                self._connection.close()


_FOREVER_S = 10**9


def _with_entrypoint(spec: ContainerSpec, image: Image) -> ContainerSpec:
    command = spec.command or image.command
    return msgspec.structs.replace(spec, entrypoint=image.entrypoint, command=command)


def _check_secret(path: Path, user: str | None) -> None:
    """A secret that the process in the container cannot read is refused before it starts."""
    try:
        status = path.stat()
        path.open("rb").close()
    except OSError as error:
        raise UsageError(f"the key file {path} cannot be read", cause=error.strerror) from error
    if status.st_mode & 0o077:
        raise UsageError(
            f"the key file {path} can be read by others",
            cause=f"its mode is {status.st_mode & 0o777:o}",
            hint=f"chmod 600 {path}",
        )
    uid = (user or "").partition(":")[0]
    if uid.isdigit() and int(uid) != status.st_uid:
        raise UsageError(
            f"the key file {path} cannot be read in the container",
            cause=f"it belongs to user {status.st_uid}, and the container runs as user {uid}",
            hint=f"sudo chown {uid} {path}",
        )
