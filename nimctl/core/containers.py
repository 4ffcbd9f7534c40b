"""Containers as nimctl wants them: plain values that every engine and every export renders."""

from typing import Literal

from nimctl.core.value import Value


class Mount(Value):
    """A directory or file of the host inside the container."""

    source: str
    target: str
    read_only: bool = True


class PublishedPort(Value):
    """A port of the container on an address of the host."""

    container: int
    host: int
    address: str = "127.0.0.1"


class Devices(Value):
    """GPUs and MIG slices by UUID; `method` is how the engine hands them over."""

    uuids: tuple[str, ...]
    method: Literal["nvidia", "cdi"] = "nvidia"


class HealthCheck(Value):
    """A command that the engine runs inside; times in seconds."""

    command: tuple[str, ...]
    interval_s: float = 5.0
    timeout_s: float = 3.0
    retries: int = 3
    start_period_s: float = 0.0


class ContainerSpec(Value):
    """Everything that a container is created with.

    Safe unless told otherwise: no capabilities, no new privileges, a read-only root file system,
    read-only mounts, loopback ports. `command` replaces the image's, `entrypoint` too where it is
    not None. `tmpfs` maps a directory to its size in bytes. `ulimits` are soft and hard limit
    alike, -1 for none. `network` is `bridge`, `host`, `none` or the name of a network.
    `secrets` are variables whose values are read from files when the container is created, so
    that no plan, log or argv holds them.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    environment: dict[str, str] = {}
    secrets: dict[str, str] = {}
    labels: dict[str, str] = {}
    mounts: tuple[Mount, ...] = ()
    tmpfs: dict[str, int] = {}
    ports: tuple[PublishedPort, ...] = ()
    network: str = "bridge"
    devices: Devices | None = None
    user: str | None = None
    working_directory: str | None = None
    read_only_root: bool = True
    dropped_capabilities: tuple[str, ...] = ("ALL",)
    no_new_privileges: bool = True
    ipc: str | None = None
    shm_bytes: int | None = None
    ulimits: dict[str, int] = {}
    memory_limit_bytes: int | None = None
    pids_limit: int | None = 4096
    cpuset: str | None = None
    numa_nodes: str | None = None
    restart: Literal["no", "unless-stopped"] = "no"
    log_max_bytes: int = 50 * 2**20
    log_files: int = 3
    health: HealthCheck | None = None
    init: bool = True
    platform: str | None = None
