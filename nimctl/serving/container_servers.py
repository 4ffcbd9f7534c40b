"""Servers in containers: everything that is known of them stands in the container's labels."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from nimctl.core.containers import Container, ContainerSpec
from nimctl.core.errors import DeadlineError, NotFoundError, ServerDiedError
from nimctl.core.plan import Await, LaunchContainer, labelled
from nimctl.core.ports import Containers
from nimctl.core.reports import ServerReport
from nimctl.core.servers import NAME_LABEL, server_of
from nimctl.serving import health, keyfiles

_PROBE_S = 2.0
_POLL_S = 0.25
GRACE_S = 35.0


class ContainerServers:
    """The servers that run in containers of one engine."""

    def __init__(self, containers: Containers, registry_key: str | None) -> None:
        self._containers = containers
        self._registry_key = registry_key
        self._launched: list[str] = []

    def launch(self, step: LaunchContainer) -> None:
        """Create and start a server's container."""
        if step.generate_api_key and step.server.api_key_file:
            keyfiles.generate(Path(step.server.api_key_file))
        if step.registry_key_file and self._registry_key:
            keyfiles.write(Path(step.registry_key_file), self._registry_key)
        _make_writable(step.container)
        spec = labelled(step)
        self._containers.create(spec)
        self._launched.append(spec.name)
        self._containers.start(spec.name)

    def wait_ready(self, step: Await) -> None:
        """Wait until a launched server answers.

        Raises:
            ServerDiedError: Its container ended, whatever its status.
            DeadlineError: It is not ready in time.
        """
        name = step.server.name
        deadline = time.monotonic() + step.timeout_s
        while not health.answers(step.server.url, step.server.health_path, _PROBE_S):
            container = self._containers.container(name)
            if container is None or not container.state.is_running:
                status = container.state.exit_code if container else "unknown"
                raise ServerDiedError(
                    f"{name} ended before it was ready (exit status {status})",
                    cause=next(iter([*self._containers.log(name, tail=1)][-1:]), None),
                    hint=f"nimctl logs {name}",
                )
            if time.monotonic() > deadline:
                raise DeadlineError(
                    f"{name} was not ready within {step.timeout_s:g} seconds",
                    hint=f"nimctl logs {name}, or allow more with --timeout",
                )
            time.sleep(_POLL_S)
        self._launched.remove(name)

    def stop_launched(self) -> None:
        """Stop what this process launched and has not let go."""
        for name in self._launched:
            self._containers.stop(name, 0)

    def find(self, name: str) -> ServerReport:
        """Describe one server.

        Raises:
            NotFoundError: There is none of this name.
        """
        container = self._containers.container(name)
        if container is None:
            raise NotFoundError(f"there is no server `{name}`", hint="nimctl ps --all")
        server = server_of(container.labels)
        running = container.state.is_running
        answers = running and health.answers(server.url, server.health_path, _PROBE_S)
        return ServerReport(
            name=server.name,
            model=server.model,
            reference=server.reference,
            backend=server.backend,
            profile=server.profile,
            url=server.url,
            state="ready" if answers else "unresponsive" if running else "exited",
            pid=None,
            started=container.state.started or container.created,
            uptime_s=None,
            log=f"docker logs {name}",
            api_key_file=server.api_key_file,
            argv=(),
        )

    def wait(self, name: str) -> None:
        """Block until a server ends.

        Raises:
            ServerDiedError: It ended with another status than 0.
        """
        if status := self._containers.wait(name):
            raise ServerDiedError(
                f"{name} ended (exit status {status})", hint=f"nimctl logs {name}"
            )

    def stop(self, name: str, grace_s: float = GRACE_S) -> bool:
        """Stop a server, requests in flight finished; False when it had to be killed."""
        return self._containers.stop(name, grace_s)

    def running(self) -> dict[str, str]:
        """Name and URL of each server whose container runs."""
        return {one.name: server_of(one.labels).url for one in self._running()}

    def gpus_taken(self) -> dict[str, str]:
        """UUID of each GPU that a running server has, and the server's name."""
        return {gpu: one.name for one in self._running() for gpu in one.gpus}

    def _running(self) -> Iterator[Container]:
        for one in self._containers.containers({NAME_LABEL: None}):
            if one.state.is_running:
                yield one


def _make_writable(spec: ContainerSpec) -> None:
    """Have the directories that a container writes to, as its user's.

    The engine makes a missing one as root's, and then the container cannot write to it.
    """
    for mount in spec.mounts:
        if mount.read_only:
            continue
        directory = Path(mount.source)
        directory.mkdir(parents=True, exist_ok=True)
        if spec.user and os.geteuid() == 0:
            uid, _, gid = spec.user.partition(":")
            os.chown(directory, int(uid), int(gid or uid))
