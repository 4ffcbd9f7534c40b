"""What commands about servers print with `--json`."""

from nimctl.core.value import Value


class ServerReport(Value):
    """A server as `ps` shows it: an embedded one has a `pid`, one in a container `container`.

    `state` is `starting`, `ready`, `unresponsive` or `exited`, for containers also `created`,
    `paused`, `restarting`, or `running` on another machine, where it cannot be asked. `reason` is
    why the profile was chosen, `plan` what was decided beside it. `started` is an RFC 3339 time in
    UTC, `uptime_s` in seconds and None when it has exited, `exit_code` then its status. A replica
    has the name of its router as `group`. `gpus` are UUIDs, memory is the machine's, in bytes;
    requests are those that are worked on and those that wait, None where the server does not count
    them. `argv` starts the server again.
    """

    name: str
    model: str
    reference: str
    backend: str
    profile: str
    reason: str | None = None
    plan: str | None = None
    group: str | None = None
    url: str
    state: str
    pid: int | None = None
    container: str | None = None
    image: str | None = None
    gpus: tuple[str, ...] = ()
    memory_bytes: int | None = None
    requests_running: int | None = None
    requests_waiting: int | None = None
    restarts: int = 0
    exit_code: int | None = None
    started: str
    uptime_s: float | None
    log: str | None = None
    api_key_file: str | None
    argv: tuple[str, ...]


class Servers(Value):
    """All servers."""

    schema_version: int = 1
    servers: tuple[ServerReport, ...]


class ServeReport(Value):
    """A server that is ready, and the notes of its plan."""

    schema_version: int = 1
    server: ServerReport
    notes: tuple[str, ...]


class RestartReport(Value):
    """A server that was restarted."""

    schema_version: int = 1
    server: ServerReport


class UpdateReport(Value):
    """A router whose replicas were replaced, in this order, and the notes of the plan."""

    schema_version: int = 1
    server: ServerReport
    replaced: tuple[str, ...]
    notes: tuple[str, ...]


class InspectedServer(Value):
    """What `inspect` tells of a server; `run_line` starts it again, from a shell."""

    schema_version: int = 1
    server: ServerReport
    run_line: str


class Stopped(Value):
    """What `stop` did: names of servers, by how they ended."""

    schema_version: int = 1
    stopped: tuple[str, ...]
    killed: tuple[str, ...]
