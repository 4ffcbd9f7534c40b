"""Replicas and their router as one thing: no request is lost when one of them, or all, are stopped.

The router is told first. HAProxy finishes the streams that are open, and replicas end when they
have nothing left to do.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

from nimctl.core.errors import (
    ContainerEngineError,
    DeadlineError,
    NimctlError,
    NoContainerEngineError,
    ServerDiedError,
)
from nimctl.core.events import Emit, Finished, Started
from nimctl.core.layout import Layout
from nimctl.core.plan import Await, Replace
from nimctl.core.router import ROUTER, router_socket
from nimctl.core.servers import Member, Server
from nimctl.serving import routers
from nimctl.serving.container_servers import ContainerServers
from nimctl.serving.embedded import GRACE_S
from nimctl.serving.servers import Servers

_AT_ONCE = 8


class Groups:
    """Servers that may be routers, replicas, or neither."""

    def __init__(
        self, servers: Servers, containers: Callable[[], ContainerServers], layout: Layout
    ) -> None:
        self._servers = servers
        self._containers = containers
        self._layout = layout

    def members(self, name: str) -> list[str]:
        """The replicas behind a router, by name; none of what is no router.

        Raises:
            ContainerEngineError: It is a router, and the engine does not tell what is behind it.
        """
        members = sorted(one.name for one in self._servers.servers() if one.group == name)
        trouble = self._servers.trouble
        if trouble and self._servers.server(name).backend == ROUTER:
            raise trouble
        return members

    def replicas(self, name: str) -> tuple[Member, ...]:
        """The replicas behind a running router as they serve, or last did.

        Raises:
            NetworkError: The router does not answer.
        """
        return self._containers().members(name, routers.serving(self._socket_of(name)))

    def outermost(self, names: list[str]) -> list[str]:
        """Without the replicas whose router is among them too."""
        grouped = {one.name: one.group for one in self._servers.servers()}
        return [name for name in names if grouped.get(name) not in names]

    def wait(self, name: str) -> None:
        """Block until a server ends; with a router its replicas end.

        Raises:
            ServerDiedError: It ended with another status than 0.
        """
        try:
            self._servers.wait(name)
        except ServerDiedError as death:
            try:
                self._stop_all(self.members(name), GRACE_S)
            except ContainerEngineError as trouble:
                # It must not hide why this one died.
                death.hint = f"its replicas may run on ({trouble.message}): nimctl ps, nimctl stop"
            raise

    def stop(self, name: str, grace_s: float = GRACE_S) -> bool:
        """Stop a server, requests in flight finished; False when something had to be killed.

        A router takes its replicas with it; a replica is drained at its router first.

        Raises:
            ContainerEngineError: The engine does not tell what is behind a router, which runs on.
        """
        server = self._servers.server(name)
        deadline = time.monotonic() + grace_s
        if server.backend == ROUTER:
            members = self.members(name)
            whole = self._servers.stop(name, grace_s)
            return self._stop_all(members, max(deadline - time.monotonic(), 0)) and whole
        if self._is_routed(server):
            self._drain_while(server, grace_s)
        return self._servers.stop(name, max(deadline - time.monotonic(), 0))

    def restart(self, name: str, grace_s: float, wait_ready: Callable[[Server], None]) -> Server:
        """Stop a server and start it again as it was; of a router, one replica after another."""
        server = self._servers.server(name)
        for member in self.members(name):
            self.restart(member, grace_s, wait_ready)
        if server.backend == ROUTER and self._servers.is_running(name):
            return server
        routed = self._is_routed(server)
        if routed:
            self._drain_while(server, grace_s)
        self._servers.restart(name, grace_s)
        wait_ready(server)
        if routed:
            routers.admit(self._socket(server), name)
        return server

    def remove(self, name: str) -> None:
        """Forget a stopped server; of a router, its replicas too.

        Raises:
            UsageError: One of them runs.
        """
        members = self.members(name)
        self._servers.check_ended([name, *members])
        if self._servers.server(name).backend == ROUTER:
            self._forget_aside(name)
        for one in (*members, name):
            self._servers.remove(one)
        shutil.rmtree(self._layout.router(name), ignore_errors=True)

    def _forget_aside(self, router: str) -> None:
        """Remove what updates that were killed have set aside, also where nothing came instead."""
        with suppress(NoContainerEngineError):
            for one in self._containers().members(router, ()):
                self._containers().forget_aside(one.server.name)

    def replace(self, step: Replace, emit: Emit) -> None:
        """Put a replica in another's place; the other comes back if it does not get ready.

        Raises:
            DeadlineError: The old one's requests take too long, or the new one's start.
            NimctlError: Whatever keeps the new one from being ready.
        """
        server = step.launch.server
        name, socket = server.name, self._socket(server)
        containers = self._containers()
        if name in routers.serving(socket):
            # Whatever an update that was killed has set aside: that one got ready in its place.
            containers.forget_aside(name)
        emit(Started(task="drain", title=f"draining {name}"))
        try:
            routers.drain(socket, name, step.drain_s)
        except DeadlineError:
            routers.admit(socket, name)
            raise
        emit(Finished(task="drain"))
        containers.set_aside(name, GRACE_S)
        try:
            emit(Started(task="ready", title=f"replacing {name}"))
            containers.launch(step.launch, emit)
            containers.wait_ready(step.ready, emit)
            routers.admit(socket, name)
        except NimctlError as error:
            log = self._keep_log(server)
            self._put_back(step, emit)
            raise type(error)(
                f"{name} was not replaced, and the old one serves again: {error.message}",
                cause=error.cause,
                hint=f"the new one's log: {log}",
            ) from error
        except BaseException:
            self._put_back(step, emit)
            raise
        containers.forget_aside(name)
        emit(Finished(task="ready"))

    def _put_back(self, step: Replace, emit: Emit) -> None:
        name = step.launch.server.name
        old = self._containers().put_back(name)
        ready = Await(server=old, timeout_s=step.ready.timeout_s, until=step.ready.until)
        self._containers().wait_ready(ready, emit)
        routers.admit(self._socket(old), name)

    def _keep_log(self, server: Server) -> Path:
        path = self._layout.router(server.group or server.name) / f"{server.name}.log"
        with closing(self._containers().log(server.name)) as lines:
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    def _stop_all(self, names: list[str], grace_s: float) -> bool:
        running = [one for one in names if self._servers.is_running(one)]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return all([*pool.map(lambda one: self._servers.stop(one, grace_s), running)])

    def _is_routed(self, server: Server) -> bool:
        """Whether a router sends it requests."""
        group = server.group
        return group is not None and group in self._names() and self._servers.is_running(group)

    def _names(self) -> Iterator[str]:
        return (one.name for one in self._servers.servers())

    def _drain_while(self, server: Server, grace_s: float) -> None:
        """Have a replica finish what it has, as far as it does in that time."""
        try:
            routers.drain(self._socket(server), server.name, grace_s)
        except DeadlineError:
            return

    def _socket(self, server: Server) -> Path:
        return self._socket_of(server.group or server.name)

    def _socket_of(self, router: str) -> Path:
        return Path(router_socket(str(self._layout.router(router))))
