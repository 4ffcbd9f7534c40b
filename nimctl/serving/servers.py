"""All servers, whether they are processes of one nimctl home or containers of one engine."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from nimctl.core.errors import (
    ContainerEngineError,
    NoContainerEngineError,
    NotFoundError,
    UsageError,
)
from nimctl.core.events import Emit
from nimctl.core.plan import Await, Launch, LaunchContainer
from nimctl.core.ports import LogLines
from nimctl.core.server_reports import ServerReport
from nimctl.core.servers import Server
from nimctl.serving.container_servers import ContainerServers
from nimctl.serving.embedded import GRACE_S, EmbeddedServers

_POLL_S = 0.2
_Answer = TypeVar("_Answer")
_Default = TypeVar("_Default")
_NONE: dict[str, str] = {}


class Servers:
    """Embedded servers and those in containers, by one name each; the embedded ones go first.

    Without a container engine there are the embedded ones. An engine that is there and did not
    answer when servers were last listed has its error in `trouble`.
    """

    def __init__(
        self, embedded: EmbeddedServers, containers: Callable[[], ContainerServers]
    ) -> None:
        self._embedded = embedded
        self._make_containers = containers
        self._made: ContainerServers | None = None
        self._in_containers: set[str] = set()
        self.trouble: ContainerEngineError | None = None

    def launch(self, step: Launch | LaunchContainer, emit: Emit) -> None:
        """Start a server; an ended one of the same name gives way."""
        if isinstance(step, Launch):
            self._embedded.launch(step)
        else:
            self._in_containers.add(step.server.name)
            if step.server.group:
                # Of an update that was killed: it served a group that this one replaces.
                self._containers.forget_aside(step.server.name)
            self._containers.launch(step, emit)
            if self._embedded.has(step.server.name):
                self._embedded.remove(step.server.name)

    def wait_ready(self, step: Await, emit: Emit) -> None:
        """Wait until a launched server answers."""
        if step.server.name in self._in_containers:
            self._containers.wait_ready(step, emit)
        else:
            self._embedded.wait_ready(step)

    def let_go(self) -> None:
        """Leave what was launched to itself: from now on `stop_launched` does not touch it."""
        self._embedded.let_go()
        if self._made:
            self._made.let_go()

    def stop_launched(self) -> None:
        """Stop what this process launched and has not let go; never a server of another."""
        self._embedded.stop_launched()
        if self._made:
            self._made.stop_launched()

    def all(self) -> Iterator[ServerReport]:
        """Every server, also those that have ended."""
        yield from self._embedded.all()
        yield from self._ask(lambda containers: tuple(containers.all()), ())

    def running(self) -> dict[str, str]:
        """Name and URL of each server that runs."""
        in_containers = self._ask(lambda containers: containers.running(), _NONE)
        return {**in_containers, **self._embedded.running()}

    def names(self) -> list[str]:
        """Every server's name, also of those that have ended; nothing is asked of them."""
        in_containers = self._ask(lambda containers: containers.names(), [])
        return [*self._embedded.names(), *in_containers]

    def servers(self) -> Iterator[Server]:
        """Every server as it was launched; nothing is asked of them."""
        yield from self._embedded.servers()
        yield from self._ask(lambda containers: tuple(containers.servers()), ())

    def server(self, name: str) -> Server:
        """A server as it was launched.

        Raises:
            NotFoundError: There is none of this name.
        """
        return self._owner(name).server(name)

    def is_running(self, name: str) -> bool:
        """Tell whether a server runs."""
        return self._owner(name).is_running(name)

    def gpus_taken(self) -> dict[str, str]:
        """UUID of each GPU that a running server has, and the server's name."""
        return self._ask(lambda containers: containers.gpus_taken(), _NONE)

    def find(self, name: str) -> ServerReport:
        """Describe one server.

        Raises:
            NotFoundError: There is none of this name.
        """
        return self._owner(name).find(name)

    def wait(self, name: str) -> None:
        """Block until a server ends.

        Raises:
            ServerDiedError: It ended with another status than 0.
        """
        self._owner(name).wait(name)

    def stop(self, name: str, grace_s: float = GRACE_S) -> bool:
        """Stop a server, requests in flight finished; False when it had to be killed."""
        return self._owner(name).stop(name, grace_s)

    def restart(self, name: str, grace_s: float = GRACE_S) -> Server:
        """Stop a server and start it again as it was; it has to be waited for."""
        owner = self._owner(name)
        if isinstance(owner, ContainerServers):
            self._in_containers.add(name)
        return owner.restart(name, grace_s)

    def check_ended(self, names: Iterable[str]) -> None:
        """Refuse to go on while one of these runs.

        Raises:
            UsageError: One does.
        """
        running = [name for name in names if self.is_running(name)]
        if running:
            raise UsageError(
                f"{', '.join(running)} {'is' if len(running) == 1 else 'are'} running",
                hint=f"nimctl stop {' '.join(running)}",
            )

    def remove(self, name: str) -> None:
        """Forget a stopped server and its log.

        Raises:
            UsageError: It runs.
        """
        self._owner(name).remove(name)

    def log(
        self,
        name: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since_s: float | None = None,
    ) -> LogLines:
        """Lines of a server's log.

        Raises:
            UsageError: Lines since a time are asked of an embedded server, whose log has none.
        """
        owner = self._owner(name)
        if isinstance(owner, ContainerServers):
            return owner.log(name, follow=follow, tail=tail, since_s=since_s)
        if since_s is not None:
            raise UsageError(
                f"the log of {name} has no times", cause="it is an embedded server", hint="--tail"
            )
        return _FileLines(owner, name, follow=follow, tail=tail)

    def _owner(self, name: str) -> EmbeddedServers | ContainerServers:
        """Who has a server; of two of one name it is the one that runs."""
        embedded = self._embedded.has(name)
        if embedded and self._embedded.is_running(name):
            return self._embedded
        in_container, trouble = self._answer(
            lambda one: one.has(name) and (one.is_running(name) or not embedded), otherwise=False
        )
        if in_container:
            return self._containers
        if embedded:
            return self._embedded
        if trouble:
            # It may well be there.
            raise trouble
        there = sorted(self.names())
        raise NotFoundError(
            f"there is no server `{name}`",
            cause=f"there are {', '.join(there)}" if there else "there are none",
            hint="nimctl ps --all",
        )

    @property
    def _containers(self) -> ContainerServers:
        if self._made is None:
            self._made = self._make_containers()
        return self._made

    def _ask(
        self, question: Callable[[ContainerServers], _Answer], otherwise: _Default
    ) -> _Answer | _Default:
        """List those in containers, if there is an engine that answers."""
        answer, self.trouble = self._answer(question, otherwise)
        return answer

    def _answer(
        self, question: Callable[[ContainerServers], _Answer], otherwise: _Default
    ) -> tuple[_Answer | _Default, ContainerEngineError | None]:
        try:
            return question(self._containers), None
        except NoContainerEngineError:
            return otherwise, None
        except ContainerEngineError as error:
            return otherwise, error


class _FileLines:
    """The lines of a log file, followed until the server ends."""

    def __init__(
        self, servers: EmbeddedServers, name: str, *, follow: bool, tail: int | None
    ) -> None:
        self._servers = servers
        self._name = name
        self._follow = follow
        self._tail = tail
        self._path = Path(servers.log(name))

    def __iter__(self) -> Iterator[str]:
        with self._path.open(encoding="utf-8", errors="replace") as file:
            for line in file if self._tail is None else deque(file, maxlen=self._tail):
                yield line.rstrip("\n")
            while self._follow:
                # Asked before the rest is read, which may come in between.
                self._follow = self._servers.is_running(self._name)
                for line in file:
                    yield line.rstrip("\n")
                time.sleep(_POLL_S if self._follow else 0)

    def close(self) -> None:
        """Follow no further."""
        self._follow = False
