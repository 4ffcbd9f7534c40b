"""A container spec as the engine's API wants it.

Source: https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerCreate.
"""

from typing import Any

from nimctl.core.containers import (
    ContainerSpec,
    Devices,
    HealthCheck,
    health_command,
    name_servers,
    started_command,
    sysctls,
    tmpfs_options,
)

_NANO = 1_000_000_000


def payload(spec: ContainerSpec) -> dict[str, Any]:
    """The body of a create request."""
    entrypoint, command = started_command(spec)
    body: dict[str, Any] = {
        "Image": spec.image,
        "Cmd": list(command) or None,
        "Entrypoint": None if entrypoint is None else list(entrypoint),
        "Env": [f"{name}={value}" for name, value in spec.environment.items()],
        "Labels": spec.labels,
        "User": spec.user or "",
        "WorkingDir": spec.working_directory or "",
        "ExposedPorts": {f"{port.container}/tcp": {} for port in spec.ports},
        "HostConfig": _host_config(spec),
    }
    if spec.health:
        body["Healthcheck"] = _health(spec.health)
    return body


def _host_config(spec: ContainerSpec) -> dict[str, Any]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in spec.ports:
        bindings.setdefault(f"{port.container}/tcp", []).append(
            {"HostIp": port.address, "HostPort": str(port.host)}
        )
    mounts = [
        {"Type": "bind", "Source": one.source, "Target": one.target, "ReadOnly": one.read_only}
        for one in (*spec.mounts, *(secret.mount for secret in spec.secrets))
    ]
    return {
        "Mounts": mounts,
        "Tmpfs": {path: tmpfs_options(size) for path, size in spec.tmpfs.items()},
        "PortBindings": bindings,
        "NetworkMode": spec.network,
        "Dns": list(name_servers(spec)),
        "Sysctls": sysctls(spec),
        "ReadonlyRootfs": spec.read_only_root,
        "CapDrop": list(spec.dropped_capabilities),
        "SecurityOpt": ["no-new-privileges"] if spec.no_new_privileges else [],
        "DeviceRequests": _device_requests(spec.devices),
        "IpcMode": spec.ipc or "",
        "ShmSize": spec.shm_bytes or 0,
        "Ulimits": [
            {"Name": name, "Soft": limit, "Hard": limit} for name, limit in spec.ulimits.items()
        ],
        "Memory": spec.memory_limit_bytes or 0,
        # Without this the container may swap as much again: 2 x Memory is Docker's default.
        "MemorySwap": spec.memory_limit_bytes or 0,
        "PidsLimit": spec.pids_limit,
        "CpusetCpus": spec.cpuset or "",
        "CpusetMems": spec.numa_nodes or "",
        "RestartPolicy": {"Name": spec.restart, "MaximumRetryCount": 0},
        "LogConfig": {
            "Type": "json-file",
            "Config": {"max-size": str(spec.log_max_bytes), "max-file": str(spec.log_files)},
        },
        "Init": spec.init,
    }


def _device_requests(devices: Devices | None) -> list[dict[str, Any]]:
    if devices is None:
        return []
    if devices.method == "cdi":
        return [{"Driver": "cdi", "DeviceIDs": list(devices.cdi_names)}]
    return [
        {"Driver": "nvidia", "DeviceIDs": list(devices.uuids), "Capabilities": [["gpu"]]},
    ]


def _health(check: HealthCheck) -> dict[str, Any]:
    return {
        "Test": ["CMD-SHELL", health_command(check)],
        "Interval": round(check.interval_s * _NANO),
        "Timeout": round(check.timeout_s * _NANO),
        "Retries": check.retries,
        "StartPeriod": round(check.start_period_s * _NANO),
    }
