"""What the engine says of a container, as nimctl's values."""

from collections.abc import Mapping
from typing import Any, Literal

from nimctl.core.containers import Container, ContainerState, Usage

# What Docker writes for a time that has not come: https://pkg.go.dev/time#Time.IsZero.
_NEVER = "0001-01-01T00:00:00Z"

_Status = Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]
_Health = Literal["none", "starting", "healthy", "unhealthy"]
# Docker's words, then those that only Podman has.
_STATUSES: dict[str, _Status] = {
    "created": "created",
    "running": "running",
    "paused": "paused",
    "restarting": "restarting",
    "removing": "removing",
    "exited": "exited",
    "dead": "dead",
    "configured": "created",
    "initialized": "created",
    "stopping": "running",
    "stopped": "exited",
}
_HEALTHS: dict[str, _Health] = {
    "starting": "starting",
    "healthy": "healthy",
    "unhealthy": "unhealthy",
}


def container_of(found: Mapping[str, Any]) -> Container:
    """A container out of its inspection."""
    config = found.get("Config") or {}
    return Container(
        id=str(found["Id"]),
        name=str(found["Name"]).removeprefix("/"),
        image=str(config.get("Image") or found.get("Image") or ""),
        labels=config.get("Labels") or {},
        state=state_of(found["State"], int(found.get("RestartCount") or 0)),
        created=str(found.get("Created") or ""),
        gpus=_gpus(found.get("HostConfig") or {}),
    )


def state_of(state: Mapping[str, Any], restarts: int = 0) -> ContainerState:
    """A container's state out of its inspection."""
    health = str((state.get("Health") or {}).get("Status") or "")
    return ContainerState(
        status=_STATUSES.get(str(state.get("Status")), "dead"),
        exit_code=int(state.get("ExitCode") or 0),
        oom_killed=bool(state.get("OOMKilled")),
        error=str(state.get("Error") or ""),
        health=_HEALTHS.get(health, "none"),
        restarts=restarts,
        started=_time(state.get("StartedAt")),
        finished=_time(state.get("FinishedAt")),
    )


def usage_of(stats: Mapping[str, Any]) -> Usage | None:
    """Memory and disk reads out of the engine's statistics; None for a container that has ended.

    As `docker stats` counts memory: without the page cache that can be given up,
    https://docs.docker.com/reference/cli/docker/container/stats/#description.
    """
    memory = stats.get("memory_stats") or {}
    used = memory.get("usage")
    if not used:
        return None
    details = memory.get("stats") or {}
    inactive = details.get("total_inactive_file", details.get("inactive_file", 0))
    blocks = (stats.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    read = sum(int(one["value"]) for one in blocks if str(one.get("op")).lower() == "read")
    return Usage(memory_bytes=max(0, int(used) - int(inactive)), read_bytes=read)


def _time(text: str | None) -> str | None:
    return None if not text or text == _NEVER else text


def _gpus(host: Mapping[str, Any]) -> tuple[str, ...]:
    requests = host.get("DeviceRequests") or ()
    named = (one for request in requests for one in request.get("DeviceIDs") or ())
    # CDI names have their kind in front: nvidia.com/gpu=UUID.
    return tuple(one.rpartition("=")[2] for one in named)
