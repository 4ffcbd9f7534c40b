"""Embedded servers: processes of their own, with state and log under `servers/NAME`."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from nimctl import documents
from nimctl.core.errors import DeadlineError, NotFoundError, ServerDiedError, UsageError
from nimctl.core.layout import Layout
from nimctl.core.plan import Await, Launch
from nimctl.core.server_reports import ServerReport
from nimctl.core.servers import Server
from nimctl.core.usage import Load
from nimctl.core.value import Value
from nimctl.serving import health, keyfiles
from nimctl.serving.load import load_of
from nimctl.serving.process import FINISH, ProcessId, finish, identify, is_alive, memory_of

_STATE = "state.json"
_LOG = "server.log"
# What nimctl's own server writes when it has its port.
_LISTENING = b"listening on "
_PROBE_S = 2.0
_FASTEST_POLL_S, _SLOWEST_POLL_S = 0.01, 0.25
GRACE_S = 35.0


class ServerState(Value):
    """What is known of an embedded server: `servers/NAME/state.json`."""

    schema_version: int = 1
    launch: Launch
    process: ProcessId
    started: str


class EmbeddedServers:
    """The embedded servers of one nimctl home."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._detached: set[str] = set()

    def launch(self, step: Launch) -> None:
        """Start a server; a stopped one of the same name gives way.

        Raises:
            UsageError: One of this name runs.
        """
        directory = self._layout.server(step.server.name)
        state = documents.read(directory / _STATE, ServerState)
        if state and is_alive(state.process):
            raise UsageError(
                f"a server named {step.server.name} runs already at {state.launch.server.url}",
                hint=f"nimctl stop {step.server.name}, or choose another with --name",
            )
        # What is there of an earlier one is written anew, but for a key that clients have.
        directory.mkdir(parents=True, exist_ok=True)
        if step.generate_api_key and step.server.api_key_file:
            keyfiles.generate(Path(step.server.api_key_file))
        argv = list(step.argv)
        if step.is_ours and not step.detach:
            argv += ["--die-with-parent", str(os.getpid())]
        with (directory / _LOG).open("wb") as log:
            # A session of its own keeps the terminal's Ctrl-C from the server: nimctl stops it.
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children[step.server.name] = child
        if step.detach:
            self._detached.add(step.server.name)
        started = datetime.now(UTC).isoformat(timespec="milliseconds")
        documents.write(
            directory / _STATE,
            ServerState(launch=step, process=identify(child.pid), started=started),
        )

    def wait_ready(self, step: Await) -> None:
        """Wait until a launched server answers.

        Raises:
            ServerDiedError: It ended, whatever its status; the cause has its last words.
            DeadlineError: It is not ready in time; it is stopped.
        """
        child = self._children[step.server.name]
        deadline = time.monotonic() + step.timeout_s
        pause = _FASTEST_POLL_S
        while True:
            if (status := child.poll()) is not None:
                raise ServerDiedError(
                    f"{step.server.name} ended before it was ready ({_describe(status)})",
                    cause=self._last_words(step.server.name),
                    hint=f"nimctl logs {step.server.name}",
                )
            if health.answers(step.server.url, step.server.health_path, _PROBE_S):
                if self._has_port(step.server.name):
                    return
                pause = _FASTEST_POLL_S
            if time.monotonic() > deadline:
                self.stop(step.server.name)
                raise DeadlineError(
                    f"{step.server.name} was not ready within {step.timeout_s:g} seconds",
                    cause=self._last_words(step.server.name),
                    hint=f"nimctl logs {step.server.name}, or allow more with --timeout",
                )
            time.sleep(pause)
            pause = min(pause * 1.2, _SLOWEST_POLL_S)

    def _has_port(self, name: str) -> bool:
        """Whether it is this server that answers, and not another that took the port just before.

        nimctl's own server says so in its log when it listens; one that cannot ends.
        """
        return not self._state(name).launch.is_ours or _LISTENING in self.log(name).read_bytes()

    def let_go(self) -> None:
        """Leave detached servers to themselves: they live on without this process."""
        for name in self._detached & self._children.keys():
            # Popen would warn of that when it is deleted.
            self._children.pop(name).returncode = 0

    def wait(self, name: str) -> None:
        """Block until a server that this process launched ends.

        Raises:
            ServerDiedError: It ended with another status than 0.
        """
        if status := self._children[name].wait():
            raise ServerDiedError(
                f"{name} ended ({_describe(status)})",
                cause=self._last_words(name),
                hint=f"nimctl logs {name}",
            )

    def stop(self, name: str, grace_s: float = GRACE_S) -> bool:
        """Stop a server, requests in flight finished; False when it had to be killed."""
        state = self._state(name)
        child = self._children.get(name)
        if child is None:
            return finish(state.process, grace_s)
        child.send_signal(FINISH)
        try:
            child.wait(grace_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            return False
        return True

    def restart(self, name: str, grace_s: float = GRACE_S) -> Server:
        """Stop a server and start it again as it was; it has to be waited for."""
        launch = self._state(name).launch
        self.stop(name, grace_s)
        self._children.pop(name, None)
        again = msgspec.structs.replace(launch, detach=True, generate_api_key=False)
        self.launch(again)
        return launch.server

    def stop_launched(self) -> None:
        """Stop what this process launched and has not let go; never a server of another."""
        for name in list(self._children):
            self.stop(name)

    def find(self, name: str) -> ServerReport:
        """Describe one server.

        Raises:
            NotFoundError: There is none of this name.
        """
        return self._report(name, self._state(name))

    def all(self) -> Iterator[ServerReport]:
        """Every server, by name, also those that have ended."""
        for name, state in self._states():
            yield self._report(name, state)

    def servers(self) -> Iterator[Server]:
        """Every server as it was launched; nothing is asked of them."""
        for _, state in self._states():
            yield state.launch.server

    def server(self, name: str) -> Server:
        """A server as it was launched."""
        return self._state(name).launch.server

    def names(self) -> list[str]:
        """Every server's name, also of those that have ended."""
        return [name for name, _ in self._states()]

    def running(self) -> dict[str, str]:
        """Name and URL of each server whose process is there."""
        states = self._states()
        return {name: state.launch.server.url for name, state in states if is_alive(state.process)}

    def log(self, name: str) -> Path:
        """The log file of a server."""
        self._state(name)
        return self._layout.server(name) / _LOG

    def has(self, name: str) -> bool:
        """Whether there is a server of this name, running or not."""
        return documents.read(self._layout.server(name) / _STATE, ServerState) is not None

    def is_running(self, name: str) -> bool:
        """Tell whether a server's process is there."""
        return is_alive(self._state(name).process)

    def remove(self, name: str) -> None:
        """Forget a stopped server and its log.

        Raises:
            UsageError: It runs.
        """
        if self.is_running(name):
            raise UsageError(f"{name} is running", hint=f"nimctl stop {name}")
        shutil.rmtree(self._layout.server(name))

    def _states(self) -> Iterator[tuple[str, ServerState]]:
        for path in sorted((self._layout.root / "servers").glob(f"*/{_STATE}")):
            state = documents.read(path, ServerState)
            if state is not None:
                yield path.parent.name, state

    def _state(self, name: str) -> ServerState:
        state = documents.read(self._layout.server(name) / _STATE, ServerState)
        if state is None:
            there = [other for other, _ in self._states()]
            raise NotFoundError(
                f"there is no server `{name}`",
                cause=f"there are {', '.join(there)}" if there else "there are none",
                hint="nimctl ps --all",
            )
        return state

    def _report(self, name: str, state: ServerState) -> ServerReport:
        server = state.launch.server
        alive = is_alive(state.process)
        age = (datetime.now(UTC) - datetime.fromisoformat(state.started)).total_seconds()
        word = _answering(server) if alive else "exited"
        load = load_of(server, _PROBE_S) if word == "ready" else Load()
        return ServerReport(
            name=name,
            model=server.model,
            reference=server.reference,
            backend=server.backend,
            profile=server.profile,
            reason=server.reason or None,
            plan=server.plan or None,
            group=server.group,
            url=server.url,
            state=word,
            pid=state.process.pid,
            memory_bytes=memory_of(state.process) if alive else None,
            requests_running=load.running,
            requests_waiting=load.waiting,
            started=state.started,
            uptime_s=round(age, 1) if alive else None,
            log=str(self._layout.server(name) / _LOG),
            api_key_file=server.api_key_file,
            argv=state.launch.argv,
        )

    def _last_words(self, name: str) -> str | None:
        lines = self.log(name).read_text(encoding="utf-8", errors="replace").splitlines()
        spoken = [line.strip() for line in lines if line.strip()]
        errors = [line.removeprefix("error: ") for line in spoken if line.startswith("error: ")]
        return errors[-1] if errors else spoken[-1] if spoken else None


def _answering(server: Server) -> str:
    return "ready" if health.answers(server.url, server.health_path, _PROBE_S) else "unresponsive"


def _describe(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    return f"killed by {signal.Signals(-status).name}"
