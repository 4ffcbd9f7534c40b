"""Starts a server for what it compiles, and ends it again; its log is kept."""

import shlex
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from nimctl.attended import attended
from nimctl.core.containers import ContainerSpec
from nimctl.core.errors import ContainerEngineError, NimctlError, NotFoundError
from nimctl.core.events import Emit
from nimctl.core.plan import Await, LaunchContainer
from nimctl.core.ports import Containers
from nimctl.core.starting import explain
from nimctl.serving.container_servers import ContainerServers
from nimctl.serving.health import free_port, free_ports

_LOOPBACK = "127.0.0.1"
# What it has compiled is written when it is; this is for what it writes when it ends.
_GRACE_S = 10.0


class FirstStart:
    """A server that lives until it has given one token."""

    def __init__(self, containers: Containers, servers: ContainerServers) -> None:
        self._containers = containers
        self._servers = servers

    def run(
        self, launch: LaunchContainer, ready: Await, log: Path, emit: Emit
    ) -> NimctlError | None:
        """Start it, wait, end it; what kept it from being ready, if anything did.

        The container is gone afterwards, also when this is interrupted.
        """
        name = launch.server.name

        def work() -> NimctlError | None:
            # Of one name one starts at a time: this one is of a nimctl that was killed.
            self._containers.remove(name)
            moved, waiting = _on_a_free_port(launch, ready)
            try:
                self._servers.launch(moved, emit)
                self._servers.wait_ready(waiting, emit)
            except NimctlError as error:
                return self._told(error, moved)
            finally:
                self._end(moved.container, log)
            return None

        return attended(work, lambda: self._containers.remove(name))

    def _told(self, error: NimctlError, launch: LaunchContainer) -> NimctlError:
        """The error with a hint that holds for a container that is gone."""
        lines: tuple[str, ...] = ()
        with (
            suppress(ContainerEngineError, NotFoundError),
            closing(self._containers.log(launch.server.name)) as said,
        ):
            lines = tuple(said)
        found = explain(launch.server, lines)
        error.hint = found.hint if found else None
        return error

    def _end(self, spec: ContainerSpec, log: Path) -> None:
        # An engine that is gone can end nothing, and that is told already.
        with suppress(ContainerEngineError, NotFoundError):
            self._containers.stop(spec.name, _GRACE_S)
            self._keep_log(spec, log)
        with suppress(ContainerEngineError):
            self._containers.remove(spec.name)
        self._servers.let_go()

    def _keep_log(self, spec: ContainerSpec, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"$ {shlex.join((*(spec.entrypoint or ()), *spec.command))}\n")
            with closing(self._containers.log(spec.name)) as lines:
                file.writelines(f"{line}\n" for line in lines)


def _on_a_free_port(launch: LaunchContainer, ready: Await) -> tuple[LaunchContainer, Await]:
    """The planned port, or another: a build takes long enough for somebody to have taken it."""
    planned = launch.container.ports[0]
    port = free_port(_LOOPBACK, planned.host) or free_ports(1)[0]
    server = msgspec.structs.replace(
        launch.server, url=launch.server.url.replace(f":{planned.host}", f":{port}")
    )
    published = msgspec.structs.replace(planned, host=port)
    spec = msgspec.structs.replace(launch.container, ports=(published,))
    return (
        msgspec.structs.replace(launch, server=server, container=spec),
        msgspec.structs.replace(ready, server=server),
    )
