"""Servers in containers: everything that is known of them stands in the container's labels."""

import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from nimctl.core.containers import Container, ContainerSpec
from nimctl.core.docker_run import docker_run_argv
from nimctl.core.errors import ContainerEngineError, NotFoundError, UsageError
from nimctl.core.events import Emit, Noted
from nimctl.core.plan import Await, LaunchContainer, labelled
from nimctl.core.ports import Containers, LogLines
from nimctl.core.router import ROUTER
from nimctl.core.server_reports import ServerReport
from nimctl.core.servers import GROUP_LABEL, HOME_LABEL, NAME_LABEL, Member, Server, server_of
from nimctl.core.starting import died
from nimctl.core.usage import Load
from nimctl.serving import claims, health, keyfiles
from nimctl.serving.load import load_of
from nimctl.serving.watch import Watch
from nimctl.ulimits import Ulimits

_PROBE_S = 2.0
_DRAIN_POLL_S = 0.1
# After the drain, to end by itself before it is killed.
_END_S = 10.0
# A server that is not ready has no request to finish.
_ABORT_S = 1.0
_LAST_LINES = 200
# A model of hundreds of gigabytes may load as long; what is silent for longer does not start.
_LONGEST_START_S = 1800.0
_AT_ONCE = 8
# What a server's container is called while another stands in its place.
_ASIDE = ".old"


class ContainerServers:
    """The servers of one nimctl home that run in containers of one engine."""

    def __init__(
        self,
        containers: Containers,
        home: str,
        registry_key: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._containers = containers
        self._home = home
        self._registry_key = registry_key
        self._launched: list[str] = []
        self._ulimits = Ulimits()

    def launch(self, step: LaunchContainer, emit: Emit) -> None:
        """Create and start a server's container; an ended one of the same name gives way.

        An engine that may not lift a limit, such as a rootless one, starts it without.

        Raises:
            UsageError: One of this name runs, or it is no server's, or the port is taken.
            HardwareError: Another server has come to have its GPUs.
        """
        spec = labelled(step)
        self._make_way(spec.name)
        self._write_keys(step)
        _make_writable(spec)
        # Servers work with the engine's own limits; they pin less memory for transfers.
        self._ulimits.allowed(
            spec,
            lambda allowed: self._start(allowed, alone=step.alone),
            lambda said: emit(Noted(message=said)),
        )

    def _start(self, spec: ContainerSpec, *, alone: bool) -> None:
        self._containers.create(spec)
        self._launched.append(spec.name)
        try:
            if alone:
                claims.check(self._containers, spec.name)
            self._containers.start(spec.name)
        except BaseException:
            # Nothing has run, so that there is nothing to read in it.
            self._launched.remove(spec.name)
            self._containers.remove(spec.name)
            raise

    def _make_way(self, name: str) -> None:
        old = self._containers.container(name)
        if old is None:
            return
        if not self._is_ours(old):
            home = old.labels.get(HOME_LABEL)
            raise UsageError(
                f"there is a container {name} already",
                cause=f"it is a server of {home}" if home else "it is no server of nimctl's",
                hint=f"choose another name with --name, or docker rm {name}",
            )
        if old.state.is_running:
            raise UsageError(
                f"a server named {name} runs already at {server_of(old.labels).url}",
                hint=f"nimctl stop {name}, or choose another with --name",
            )
        self._containers.remove(name)

    def _write_keys(self, step: LaunchContainer) -> None:
        user = step.container.user
        if step.generate_api_key and step.server.api_key_file:
            keyfiles.generate(Path(step.server.api_key_file))
            keyfiles.give_to(user, Path(step.server.api_key_file))
        registry_key = self._registry_key() if step.registry_key_file else None
        if step.registry_key_file and registry_key:
            keyfiles.write(Path(step.registry_key_file), registry_key)
            keyfiles.give_to(user, Path(step.registry_key_file))

    def wait_ready(self, step: Await, emit: Emit) -> None:
        """Wait until a launched server answers; what does not become ready is stopped and kept.

        Raises:
            ServerDiedError: It ended, or cannot become ready; the cause has what its log says.
            HardwareError: Its image is for another architecture.
            DeadlineError: It is not ready in time.
            ContainerEngineError: The engine is gone.
        """
        if not self._containers.is_local and step.until != "none":
            name = step.server.name
            emit(Noted(message=f"{name} is on another machine, where it is not asked"))
            step = msgspec.structs.replace(step, until="none")
        Watch(self._containers, step, emit).wait()

    def let_go(self) -> None:
        """Leave what was launched to itself."""
        self._launched.clear()

    def stop_launched(self) -> None:
        """Stop what this process launched and has not let go; never a server of another."""
        for name in self._launched:
            # Whatever went wrong is told already; an engine that is gone can stop nothing.
            with suppress(ContainerEngineError, NotFoundError):
                self._containers.stop(name, _ABORT_S)
        self._launched.clear()

    def wait(self, name: str) -> None:
        """Block until a server ends.

        Raises:
            ServerDiedError: It ended with another status than 0.
        """
        server = server_of(self._required(name).labels)
        if status := self._containers.wait(name):
            with closing(self._containers.log(name, tail=_LAST_LINES)) as lines:
                raise died(server, f"ended (exit status {status})", tuple(lines))

    def stop(self, name: str, grace_s: float) -> bool:
        """Stop a server, requests in flight finished; False when it had to be killed."""
        one = self._required(name)
        if not one.state.is_running:
            return True
        server = server_of(one.labels)
        if server.backend == ROUTER or not self._containers.is_local:
            # A router has to be told first: only then no new requests come. A server on another
            # machine is not asked what it still has to do.
            return self._containers.stop(name, grace_s)
        deadline = time.monotonic() + grace_s
        self._drain(server, deadline - min(_END_S, grace_s / 2))
        return self._containers.stop(name, min(deadline - time.monotonic(), _END_S))

    def _drain(self, server: Server, deadline: float) -> None:
        """Wait for requests in flight: not every server finishes them when it is told to end."""
        while time.monotonic() < deadline and load_of(server, _PROBE_S).running:
            time.sleep(_DRAIN_POLL_S)

    def set_aside(self, name: str, grace_s: float) -> None:
        """Stop a server and keep it under another name, for `put_back`.

        What an update that was killed has set aside stays there: it has served, and of what runs in
        its place that is not known.
        """
        aside = f"{name}{_ASIDE}"
        if self._containers.container(aside) is None:
            self.stop(name, grace_s)
            self._containers.rename(name, aside)
        elif self._containers.container(name):
            self._containers.stop(name, _ABORT_S)
            self._containers.remove(name)

    def put_back(self, name: str) -> Server:
        """Start what was set aside, in the place of what came instead; it has to be waited for."""
        if self._containers.container(name):
            self._containers.stop(name, _ABORT_S)
            self._containers.remove(name)
        self._containers.rename(f"{name}{_ASIDE}", name)
        self._containers.start(name)
        return self.server(name)

    def members(self, group: str, serving: Collection[str]) -> tuple[Member, ...]:
        """The replicas of a group by name.

        For one that an update was killed at this is what was set aside, unless what stands in its
        place is among those that are `serving`.
        """
        found: dict[str, Container] = {}
        for one in self._containers.containers({GROUP_LABEL: group, HOME_LABEL: self._home}):
            name = server_of(one.labels).name
            if name not in found or (one.name == name) == (name in serving):
                found[name] = one
        members = []
        for _, one in sorted(found.items()):
            spec = self._containers.spec(one.name)
            if spec:
                members.append(Member(server=server_of(one.labels), container=spec))
        return tuple(members)

    def restart(self, name: str, grace_s: float) -> Server:
        """Stop and start a server in the same container; it has to be waited for."""
        server = server_of(self._required(name).labels)
        self.stop(name, grace_s)
        self._containers.start(name)
        return server

    def find(self, name: str) -> ServerReport:
        """Describe one server.

        Raises:
            NotFoundError: There is none of this name.
        """
        return self._report(self._required(name))

    def all(self) -> Iterator[ServerReport]:
        """Every server, by name, also those that have ended."""
        found = self._ours()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from pool.map(self._report, found)

    def running(self) -> dict[str, str]:
        """Name and URL of each server whose container runs."""
        return {one.name: server_of(one.labels).url for one in self._ours() if _runs(one)}

    def gpus_taken(self) -> dict[str, str]:
        """UUID of each GPU that a running server has, of whatever home, and the server's name."""
        servers = self._containers.containers({NAME_LABEL: None})
        return {gpu: one.name for one in servers if _runs(one) for gpu in one.gpus}

    def mounted(self) -> Iterator[str]:
        """Every directory and file that a server has, running or not."""
        for one in self._ours():
            if spec := self._containers.spec(one.name):
                yield from (mount.source for mount in spec.mounts)

    def names(self) -> list[str]:
        """Every server's name, also of those that have ended."""
        return [one.name for one in self._ours()]

    def servers(self) -> Iterator[Server]:
        """Every server as its labels have it; nothing is asked of them."""
        for one in self._ours():
            yield server_of(one.labels)

    def server(self, name: str) -> Server:
        """A server as its labels have it."""
        return server_of(self._required(name).labels)

    def has(self, name: str) -> bool:
        """Whether there is a server of this name, running or not."""
        one = self._containers.container(name)
        return one is not None and self._is_ours(one)

    def is_running(self, name: str) -> bool:
        """Tell whether a server's container runs."""
        return self._required(name).state.is_running

    def log(
        self,
        name: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since_s: float | None = None,
    ) -> LogLines:
        """A server's log."""
        self._required(name)
        return self._containers.log(name, follow=follow, tail=tail, since_s=since_s)

    def remove(self, name: str) -> None:
        """Forget a stopped server and its log.

        Raises:
            UsageError: It runs.
        """
        if self.is_running(name):
            raise UsageError(f"{name} is running", hint=f"nimctl stop {name}")
        self._containers.remove(name)
        self.forget_aside(name)

    def forget_aside(self, name: str) -> None:
        """Remove what was set aside for a server, if anything was."""
        if self._containers.container(f"{name}{_ASIDE}"):
            self._containers.remove(f"{name}{_ASIDE}")

    def _ours(self) -> list[Container]:
        found = self._containers.containers({HOME_LABEL: self._home})
        # Without what was set aside: another stands for it.
        return [one for one in found if one.name == one.labels[NAME_LABEL]]

    def _is_ours(self, one: Container) -> bool:
        return one.labels.get(HOME_LABEL) == self._home

    def _required(self, name: str) -> Container:
        one = self._containers.container(name)
        if one is None or not self._is_ours(one):
            raise NotFoundError(f"there is no server `{name}`", hint="nimctl ps --all")
        return one

    def _report(self, one: Container) -> ServerReport:
        server, state = server_of(one.labels), one.state
        started = state.started or one.created
        uptime = _seconds_since(started) if state.is_running else None
        word = self._word(one, server, uptime)
        load = load_of(server, _PROBE_S) if word == "ready" else Load()
        usage = self._containers.usage(one.name) if state.is_running else None
        spec = self._containers.spec(one.name)
        return ServerReport(
            name=server.name,
            model=server.model,
            reference=server.reference,
            backend=server.backend,
            profile=server.profile,
            reason=server.reason or None,
            plan=server.plan or None,
            group=server.group,
            url=server.url,
            state=word,
            container=one.id[:12],
            image=one.image,
            gpus=one.gpus,
            memory_bytes=usage.memory_bytes if usage else None,
            requests_running=load.running,
            requests_waiting=load.waiting,
            restarts=state.restarts,
            exit_code=None if state.is_running else state.exit_code,
            started=started,
            uptime_s=uptime,
            log=None,
            api_key_file=server.api_key_file,
            argv=docker_run_argv(spec) if spec else (),
        )

    def _word(self, one: Container, server: Server, uptime_s: float | None) -> str:
        if one.state.status in ("paused", "restarting", "created"):
            return one.state.status
        if uptime_s is None:
            return "exited"
        if not self._containers.is_local:
            # Its address is one of that machine; here another server may have it.
            return "running"
        if health.answers(server.url, server.health_path, _PROBE_S):
            return "ready"
        return "starting" if uptime_s < _LONGEST_START_S else "unresponsive"


def _runs(one: Container) -> bool:
    return one.state.is_running


def _seconds_since(time_text: str) -> float:
    return round((datetime.now(UTC) - datetime.fromisoformat(time_text)).total_seconds(), 1)


def _make_writable(spec: ContainerSpec) -> None:
    """Have the directories that a container writes to, as its user's.

    The engine makes a missing one as root's, and then the container cannot write to it.
    """
    for mount in spec.mounts:
        if not mount.read_only:
            Path(mount.source).mkdir(parents=True, exist_ok=True)
            keyfiles.give_to(spec.user, Path(mount.source))
