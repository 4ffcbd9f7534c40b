"""All checks in order, and which backends they leave."""

from collections.abc import Iterator

from nimctl.core.doctor.check import Check, Circumstances
from nimctl.core.doctor.gpus import driver_checks, gpu_checks
from nimctl.core.doctor.system import (
    disk_checks,
    embedded_checks,
    engine_checks,
    memory_checks,
    network_checks,
    registry_checks,
)
from nimctl.core.machine import Host
from nimctl.core.serving.backends import BACKENDS
from nimctl.core.value import Value


class BackendState(Value):
    """Whether a backend can serve on the machine, and what stops it."""

    name: str
    usable: bool
    stopped_by: tuple[str, ...] = ()


class DoctorReport(Value):
    """What `doctor --json` prints; `--host FILE` takes the `host` out of it."""

    schema_version: int = 1
    nimctl_version: str
    host: Host
    checks: tuple[Check, ...]
    backends: tuple[BackendState, ...]


def examine(seen: Circumstances, version: str) -> DoctorReport:
    """Look at everything once."""
    checks = tuple(_checks(seen))
    return DoctorReport(
        nimctl_version=version,
        host=seen.host,
        checks=checks,
        backends=tuple(_backend(name, checks) for name in BACKENDS),
    )


def _checks(seen: Circumstances) -> Iterator[Check]:
    yield from gpu_checks(seen.host)
    yield from driver_checks(seen.host)
    yield from memory_checks(seen.host)
    yield from disk_checks(seen)
    yield from engine_checks(seen)
    yield from embedded_checks(seen.host)
    yield from registry_checks(seen)
    yield from network_checks(seen)


def _backend(name: str, checks: tuple[Check, ...]) -> BackendState:
    causes = tuple(check.message for check in checks if name in check.stops)
    return BackendState(name=name, usable=not causes, stopped_by=causes)
