"""A container spec as the `docker run` line that makes the same container.

Flags: https://docs.docker.com/reference/cli/docker/container/run/.
"""

import shlex
from collections.abc import Iterator

import msgspec

from nimctl.core.containers import (
    DEFAULT_GATEWAY,
    OFFLINE_NETWORK,
    ContainerSpec,
    Devices,
    HealthCheck,
    Mount,
    health_command,
    name_servers,
    needs_entrypoint,
    network_options,
    started_command,
    sysctls,
    tmpfs_options,
)


def docker_run_argv(spec: ContainerSpec, *, detach: bool = True) -> tuple[str, ...]:
    """The command line, to be quoted with `shlex.join`; for a spec whose entrypoint is known.

    In the foreground, as engines are built, the container goes when it ends.
    """
    entrypoint, command = started_command(spec)
    argv = ["docker", "run", "--detach" if detach else "--rm", "--name", spec.name, *_flags(spec)]
    if entrypoint is not None:
        argv += ["--entrypoint", entrypoint[0]]
    return (*argv, spec.image, *command)


def offline_network_lines(name: str) -> Iterator[str]:
    """Shell that makes a network of `--offline` as nimctl does, unless it is there."""
    options = (f"{key}={value}" for key, value in network_options(name).items())
    flags = shlex.join(word for option in options for word in ("--opt", option))
    create = "docker network create --driver bridge"
    yield f"docker network inspect {name} >/dev/null 2>&1 || {{"
    if name == OFFLINE_NETWORK:
        # Docker chooses a range; then its gateway becomes an address that nobody has. The network
        # has another name until it has that one, lest somebody takes it for ready.
        chosen = f'"{name}-$$"'
        shown = "'{{(index .IPAM.Config 0).Subnet}}'"
        yield f"  {create} {chosen} >/dev/null"
        yield f"  range=$(docker network inspect --format {shown} {chosen})"
        yield f"  docker network rm {chosen} >/dev/null"
        flags += f' --subnet "$range" --aux-address "{DEFAULT_GATEWAY}=${{range%.*}}.254"'
    yield f"  {create} {flags} {name} >/dev/null"
    yield "}"


def _flags(spec: ContainerSpec) -> Iterator[str]:
    yield from _identity(spec)
    yield from _files(spec)
    yield from _network(spec)
    yield from _gpus(spec.devices)
    yield from _limits(spec)
    if spec.health:
        yield from _health(spec.health)


def _identity(spec: ContainerSpec) -> Iterator[str]:
    if spec.platform:
        yield from ("--platform", spec.platform)
    if spec.user:
        yield from ("--user", spec.user)
    if spec.working_directory:
        yield from ("--workdir", spec.working_directory)
    yield f"--init={'true' if spec.init else 'false'}"
    yield from ("--restart", spec.restart)
    for name, value in spec.environment.items():
        yield from ("--env", f"{name}={value}")
    for key, value in spec.labels.items():
        yield from ("--label", f"{key}={value}")


def _files(spec: ContainerSpec) -> Iterator[str]:
    if spec.read_only_root:
        yield "--read-only"
    for path, size in spec.tmpfs.items():
        yield from ("--tmpfs", f"{path}:{tmpfs_options(size)}")
    for mount in spec.mounts:
        yield from ("--mount", _mount(mount))
    for secret in spec.secrets:
        yield from ("--mount", _mount(secret.mount))


def _mount(mount: Mount) -> str:
    fields = ["type=bind", f"source={mount.source}", f"target={mount.target}"]
    if mount.read_only:
        fields.append("readonly")
    return ",".join(_csv(field) for field in fields)


def _network(spec: ContainerSpec) -> Iterator[str]:
    yield from ("--network", spec.network)
    for server in name_servers(spec):
        yield from ("--dns", server)
    for key, value in sysctls(spec).items():
        yield from ("--sysctl", f"{key}={value}")
    for port in spec.ports:
        address = f"[{port.address}]" if ":" in port.address else port.address
        yield from ("--publish", f"{address}:{port.host}:{port.container}")


def _gpus(devices: Devices | None) -> Iterator[str]:
    if devices is None:
        return
    if devices.method == "cdi":
        for name in devices.cdi_names:
            yield from ("--device", name)
        return
    yield from ("--gpus", f"{_csv('device=' + ','.join(devices.uuids))},driver=nvidia")


def _limits(spec: ContainerSpec) -> Iterator[str]:
    for capability in spec.dropped_capabilities:
        yield from ("--cap-drop", capability)
    if spec.no_new_privileges:
        yield from ("--security-opt", "no-new-privileges")
    if spec.ipc:
        yield from ("--ipc", spec.ipc)
    if spec.shm_bytes:
        yield from ("--shm-size", str(spec.shm_bytes))
    for name, limit in spec.ulimits.items():
        yield from ("--ulimit", f"{name}={limit}:{limit}")
    if spec.memory_limit_bytes:
        limit_bytes = str(spec.memory_limit_bytes)
        yield from ("--memory", limit_bytes, "--memory-swap", limit_bytes)
    if spec.pids_limit:
        yield from ("--pids-limit", str(spec.pids_limit))
    if spec.cpuset:
        yield from ("--cpuset-cpus", spec.cpuset)
    if spec.numa_nodes:
        yield from ("--cpuset-mems", spec.numa_nodes)
    yield from ("--log-driver", "json-file", "--log-opt", f"max-size={spec.log_max_bytes}")
    yield from ("--log-opt", f"max-file={spec.log_files}")


def _health(check: HealthCheck) -> Iterator[str]:
    yield from ("--health-cmd", health_command(check))
    yield from ("--health-interval", f"{check.interval_s:g}s")
    yield from ("--health-timeout", f"{check.timeout_s:g}s")
    yield from ("--health-retries", str(check.retries))
    yield from ("--health-start-period", f"{check.start_period_s:g}s")


def _csv(field: str) -> str:
    """A field as encoding/csv of Go reads it: quoted where it holds a comma or a quote."""
    if not set(field) & set(',"\n'):
        return field
    return '"' + field.replace('"', '""') + '"'


def printed(spec: ContainerSpec, *, detach: bool = True) -> str:
    """The line as a person can run it.

    Where nimctl asks the engine for the image's program, so does the shell (`needs_entrypoint`). It
    splits that at blanks, which the words of an entrypoint seldom have.
    """
    asked: tuple[str, ...] = ()
    if needs_entrypoint(spec):
        asked = (_of_image("Entrypoint", spec), _of_image("Cmd", spec))
        entrypoint, command = asked[:1], spec.command or asked[1:]
        spec = msgspec.structs.replace(spec, entrypoint=entrypoint, command=command)
    words = docker_run_argv(spec, detach=detach)
    return " ".join(word if word in asked else shlex.quote(word) for word in words)


def _of_image(field: str, spec: ContainerSpec) -> str:
    form = f"{{{{range .Config.{field}}}}}{{{{.}}}} {{{{end}}}}"
    return f"$({shlex.join(('docker', 'image', 'inspect', '--format', form, spec.image))})"
