"""A container spec as the `docker run` line that a person would type.

The flags: https://docs.docker.com/reference/cli/docker/container/run/. Podman takes the same.
"""

from collections.abc import Iterator

from nimctl.core.containers import ContainerSpec, Devices, HealthCheck, Mount, started_command


def docker_run(spec: ContainerSpec, *, detach: bool = False) -> tuple[str, ...]:
    """The words of the command line; in the foreground the container goes when it ends."""
    entrypoint, command = started_command(spec)
    return (
        *("docker", "run"),
        "--detach" if detach else "--rm",
        *("--name", spec.name),
        *_rights(spec),
        *_devices(spec.devices),
        *_limits(spec),
        *_network(spec),
        *_files(spec),
        *_process(spec),
        *(("--entrypoint", entrypoint[0]) if entrypoint else ()),
        spec.image,
        *command,
    )


def _rights(spec: ContainerSpec) -> Iterator[str]:
    if spec.user:
        yield from ("--user", spec.user)
    for capability in spec.dropped_capabilities:
        yield from ("--cap-drop", capability)
    if spec.no_new_privileges:
        yield from ("--security-opt", "no-new-privileges")
    if spec.read_only_root:
        yield "--read-only"


def _devices(devices: Devices | None) -> Iterator[str]:
    if devices is None:
        return
    if devices.method == "cdi":
        for uuid in devices.uuids:
            yield from ("--device", f"nvidia.com/gpu={uuid}")
        return
    # The value is a line of CSV: the quotes keep the commas between devices in one field.
    names = ",".join(devices.uuids)
    yield from ("--gpus", f'"device={names}"' if len(devices.uuids) > 1 else f"device={names}")


def _limits(spec: ContainerSpec) -> Iterator[str]:
    if spec.ipc:
        yield from ("--ipc", spec.ipc)
    if spec.shm_bytes:
        yield from ("--shm-size", str(spec.shm_bytes))
    for name, limit in spec.ulimits.items():
        yield from ("--ulimit", f"{name}={limit}:{limit}")
    if spec.memory_limit_bytes:
        # Without the second the container may swap as much again.
        yield from ("--memory", str(spec.memory_limit_bytes))
        yield from ("--memory-swap", str(spec.memory_limit_bytes))
    if spec.pids_limit:
        yield from ("--pids-limit", str(spec.pids_limit))
    if spec.cpuset:
        yield from ("--cpuset-cpus", spec.cpuset)
    if spec.numa_nodes:
        yield from ("--cpuset-mems", spec.numa_nodes)


def _network(spec: ContainerSpec) -> Iterator[str]:
    if spec.network != "bridge":
        yield from ("--network", spec.network)
    for port in spec.ports:
        yield from ("--publish", f"{_bracketed(port.address)}:{port.host}:{port.container}")


def _files(spec: ContainerSpec) -> Iterator[str]:
    for mount in spec.mounts:
        yield from ("--mount", _bind(mount))
    for secret in spec.secrets:
        yield from ("--mount", _bind(Mount(source=secret.source, target=secret.target)))
    for path, size in spec.tmpfs.items():
        yield from ("--tmpfs", f"{path}:rw,nosuid,nodev,size={size},mode=1777")


def _process(spec: ContainerSpec) -> Iterator[str]:
    if spec.init:
        yield "--init"
    if spec.restart != "no":
        yield from ("--restart", spec.restart)
    if spec.platform:
        yield from ("--platform", spec.platform)
    if spec.working_directory:
        yield from ("--workdir", spec.working_directory)
    for name, value in spec.environment.items():
        yield from ("--env", f"{name}={value}")
    for name, value in spec.labels.items():
        yield from ("--label", f"{name}={value}")
    if spec.health:
        yield from _health(spec.health)


def _health(health: HealthCheck) -> Iterator[str]:
    yield from ("--health-cmd", " ".join(health.command))
    yield from ("--health-interval", f"{health.interval_s:g}s")
    yield from ("--health-timeout", f"{health.timeout_s:g}s")
    yield from ("--health-retries", str(health.retries))
    yield from ("--health-start-period", f"{health.start_period_s:g}s")


def _bind(mount: Mount) -> str:
    fields = ["type=bind", f"source={mount.source}", f"target={mount.target}"]
    if mount.read_only:
        fields.append("readonly")
    # A field with a comma or a quote is quoted, as CSV has it.
    return ",".join(_csv(field) for field in fields)


def _csv(field: str) -> str:
    if "," in field or '"' in field:
        return '"' + field.replace('"', '""') + '"'
    return field


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
