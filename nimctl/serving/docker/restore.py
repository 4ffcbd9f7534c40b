"""From what the engine says of a container back to the spec that it was created with.

So a server can be inspected and printed as a command without any state of nimctl's own, also by
another nimctl than the one that started it. The inverse of `create.payload`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from nimctl.core.containers import (
    OFFLINE_NETWORKS,
    ContainerSpec,
    Devices,
    HealthCheck,
    Image,
    Mount,
    PublishedPort,
    Secret,
)

_NANO = 1_000_000_000
_SECRETS = "/run/secrets/"
_EXPORT = re.compile(r'export (\w+)="\$\(cat (/run/secrets/\S+)\)"; ')
_SIZE = re.compile(r"(?:^|,)size=(\d+)")


def spec_of(found: Mapping[str, Any], image: Image | None) -> ContainerSpec:
    """The spec of an inspected container; what it has of its image is left out again."""
    config, host = found["Config"], found["HostConfig"]
    variables, entrypoint, command = _program(config, image)
    mounts = _mounts(found)
    inherited = set(image.environment) if image else set()
    labels = config.get("Labels") or {}
    return ContainerSpec(
        name=str(found["Name"]).removeprefix("/"),
        image=config["Image"],
        entrypoint=entrypoint,
        command=command,
        environment=dict(
            one.partition("=")[::2]
            for one in config.get("Env") or ()
            if one not in inherited and one not in _of_podman(config)
        ),
        secrets=tuple(
            Secret(
                name=one.target.removeprefix(_SECRETS),
                source=one.source,
                variable=variables.get(one.target),
            )
            for one in mounts
            if one.target.startswith(_SECRETS)
        ),
        labels={
            key: value
            for key, value in labels.items()
            if image is None or image.labels.get(key) != value
        },
        mounts=tuple(one for one in mounts if not one.target.startswith(_SECRETS)),
        tmpfs={
            path: int(size[1])
            for path, options in (host.get("Tmpfs") or {}).items()
            if (size := _SIZE.search(options))
        },
        ports=tuple(_ports(host.get("PortBindings") or {})),
        network=_network(found),
        devices=_devices(host.get("DeviceRequests") or ()),
        user=_unlike(config.get("User"), image.user if image else ""),
        working_directory=_unlike(
            config.get("WorkingDir"), (image.working_directory if image else "") or "/"
        ),
        read_only_root=bool(host.get("ReadonlyRootfs")),
        dropped_capabilities=_dropped(host.get("CapDrop") or ()),
        no_new_privileges="no-new-privileges" in (host.get("SecurityOpt") or ()),
        ipc=_unlike(host.get("IpcMode"), "private"),
        shm_bytes=_unlike(host.get("ShmSize"), _DEFAULT_SHM),
        ulimits={
            # Podman says RLIMIT_NOFILE for nofile.
            one["Name"].removeprefix("RLIMIT_").lower(): int(one["Soft"])
            for one in host.get("Ulimits") or ()
        },
        memory_limit_bytes=host.get("Memory") or None,
        pids_limit=host.get("PidsLimit") or None,
        cpuset=host.get("CpusetCpus") or None,
        numa_nodes=host.get("CpusetMems") or None,
        restart=_restart(host),
        log_max_bytes=int(_log(host, "max-size", str(_LOG.log_max_bytes))),
        log_files=int(_log(host, "max-file", str(_LOG.log_files))),
        health=_health(config.get("Healthcheck") or {}),
        init=bool(host.get("Init")),
    )


# Those that there are when none is asked for:
# https://github.com/moby/moby/blob/v28.2.2/oci/caps/defaults.go.
_ALL = {
    *("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID"),
    *("SETFCAP", "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"),
}
_DEFAULT_SHM = 64 * 2**20
_LOG = ContainerSpec(name="", image="")


def _unlike(value: Any, default: Any) -> Any:
    return value if value and value != default else None


def _program(
    config: Mapping[str, Any], image: Image | None
) -> tuple[dict[str, str], tuple[str, ...] | None, tuple[str, ...]]:
    """Variables by the file that they are read from, entrypoint and command."""
    entrypoint: tuple[str, ...] | None = tuple(config.get("Entrypoint") or ())
    command = tuple(config.get("Cmd") or ())
    script = command[1] if len(command) > 1 else ""
    if entrypoint == ("/bin/sh",) and script.endswith('exec "$@"') and _EXPORT.match(script):
        variables = {target: name for name, target in _EXPORT.findall(script)}
        words = command[3:]
        return variables, words[:1], words[1:]
    if image and entrypoint == image.entrypoint:
        own = command == image.command
        return {}, None, () if own else command
    return {}, entrypoint, command


def _dropped(names: Sequence[str]) -> tuple[str, ...]:
    # Podman names each.
    return ("ALL",) if set(names) == _ALL else tuple(names)


def _ports(bindings: Mapping[str, Sequence[Mapping[str, str]] | None]) -> list[PublishedPort]:
    return [
        PublishedPort(
            container=int(port.partition("/")[0]),
            host=int(one.get("HostPort") or 0),
            address=one.get("HostIp") or "0.0.0.0",  # noqa: S104 - what no address means
        )
        for port, all_of_it in bindings.items()
        for one in all_of_it or ()
    ]


def _network(found: Mapping[str, Any]) -> str:
    mode = str(found["HostConfig"].get("NetworkMode") or "bridge")
    # For Podman every network is a bridge.
    names = (found.get("NetworkSettings") or {}).get("Networks") or {}
    offline = next((name for name in names if name in OFFLINE_NETWORKS), None)
    return offline or ("bridge" if mode == "default" else mode)


def _mounts(found: Mapping[str, Any]) -> list[Mount]:
    """In the order in which they were asked for; Podman keeps none, and no such list."""
    asked = found["HostConfig"].get("Mounts")
    if asked is None:
        return [
            Mount(source=one["Source"], target=one["Destination"], read_only=not one["RW"])
            for one in sorted(found.get("Mounts") or (), key=lambda one: str(one["Destination"]))
            if one.get("Type") == "bind"
        ]
    return [
        Mount(source=one["Source"], target=one["Target"], read_only=bool(one.get("ReadOnly")))
        for one in asked
        if one.get("Type") == "bind"
    ]


def _of_podman(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Variables that Podman adds of its own accord."""
    return ("container=podman", "TERM=xterm", f"HOSTNAME={config.get('Hostname')}")


def _devices(requests: Sequence[Mapping[str, Any]]) -> Devices | None:
    for request in requests:
        ids = tuple(request.get("DeviceIDs") or ())
        if request.get("Driver") == "cdi":
            return Devices(uuids=tuple(one.partition("=")[2] for one in ids), method="cdi")
        if ids:
            return Devices(uuids=ids)
    return None


def _restart(host: Mapping[str, Any]) -> Literal["no", "unless-stopped"]:
    name = (host.get("RestartPolicy") or {}).get("Name")
    return "unless-stopped" if name == "unless-stopped" else "no"


def _log(host: Mapping[str, Any], option: str, default: str) -> str:
    value = ((host.get("LogConfig") or {}).get("Config") or {}).get(option, default)
    return str(value) if str(value).isdigit() else default


def _health(check: Mapping[str, Any]) -> HealthCheck | None:
    test: list[str] = check.get("Test") or []
    if test[:1] != ["CMD-SHELL"]:
        return None
    return HealthCheck(
        command=tuple(_words(test[1])),
        interval_s=check.get("Interval", 0) / _NANO,
        timeout_s=check.get("Timeout", 0) / _NANO,
        retries=int(check.get("Retries") or 0),
        start_period_s=check.get("StartPeriod", 0) / _NANO,
    )


def _words(command: str) -> list[str]:
    import shlex  # noqa: PLC0415 - few containers have a check

    return shlex.split(command)
