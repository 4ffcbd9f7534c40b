"""What is said about memory, disk, engines, registries and the network."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from nimctl.core.backends import X86_FEATURES
from nimctl.core.doctor.check import (
    EMBEDDED_BACKENDS,
    GPU_BACKENDS,
    Check,
    Circumstances,
    State,
)
from nimctl.core.machine import ContainerEngine, Host

_GIB = 2**30
_LITTLE_MEMORY = 4 * _GIB
# A model of 8 billion weights takes 4.6 GiB in 4 bits and 15 GiB in 16.
_LITTLE_DISK = 20 * _GIB
_NO_DISK = 1 * _GIB
_TOOLKIT = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit"


def memory_checks(host: Host) -> Iterator[Check]:
    """The processor and the memory that models on the CPU get."""
    yield _ok("memory", f"{host.cpu.model}, {host.cpu.cores} cores, {host.cpu.architecture}")
    line = f"{_gib(host.memory_available_bytes)} of {_gib(host.memory_total_bytes)} free"
    if host.memory_available_bytes < _LITTLE_MEMORY:
        message = f"{line}: too little for models of more than about 3 billion weights"
        yield Check(group="memory", state=State.WARNING, message=message, fix="free -h")
    else:
        yield _ok("memory", line)


def disk_checks(seen: Circumstances) -> Iterator[Check]:
    """Room for models, and the right to write there."""
    free = seen.host.disk_free_bytes
    line = f"{_gib(free)} free for {seen.home}"
    if not seen.home_writable:
        yield Check(
            group="disk",
            state=State.PROBLEM,
            message=f"{seen.home} cannot be written",
            fix="set NIMCTL_HOME to a directory of yours",
            stops=(*EMBEDDED_BACKENDS, *GPU_BACKENDS),
        )
    if free < _NO_DISK:
        yield Check(
            group="disk",
            state=State.PROBLEM,
            message=f"{line}: no room for models",
            fix="nimctl prune, or set NIMCTL_HOME to a larger disk",
            stops=(*EMBEDDED_BACKENDS, *GPU_BACKENDS),
        )
    elif free < _LITTLE_DISK:
        yield Check(
            group="disk",
            state=State.WARNING,
            message=f"{line}: a model of 8 billion weights takes 5 to 16 GiB, an image up to 30",
            fix="nimctl prune, or set NIMCTL_HOME to a larger disk",
        )
    else:
        yield _ok("disk", line)


def engine_checks(seen: Circumstances) -> Iterator[Check]:
    """The container engine, and whether it hands GPUs over."""
    group, host, engine = "container engine", seen.host, seen.host.container_engine
    if engine is None:
        failure = seen.engine_failure
        said = failure.message if failure else "no container engine was looked for"
        cause = f": {failure.cause}" if failure and failure.cause else ""
        yield Check(
            group=group,
            state=State.PROBLEM if host.gpus else State.WARNING,
            message=f"{said}{cause}",
            fix=failure.hint if failure else None,
            stops=GPU_BACKENDS,
        )
        return
    rootless = ", rootless" if engine.rootless else ""
    name = f"{engine.kind.title()} {engine.version} at {engine.endpoint}{rootless}"
    if engine.offers_gpus:
        ways = ["the NVIDIA runtime"] if engine.nvidia_runtime else []
        ways += [f"CDI ({len(engine.cdi_gpus)} devices)"] if engine.cdi_gpus else []
        yield _ok(group, f"{name}, hands GPUs over by {' and '.join(ways)}")
    elif host.gpus:
        yield Check(
            group=group,
            state=State.PROBLEM,
            message=f"{name} cannot hand GPUs over: the NVIDIA Container Toolkit is missing",
            fix=_toolkit(engine),
            stops=GPU_BACKENDS,
        )
    else:
        yield _ok(group, name)


def embedded_checks(host: Host) -> Iterator[Check]:
    """What the embedded CPU engine needs."""
    embedded = host.embedded
    missing = [name for name in X86_FEATURES if name not in host.cpu.features]
    if embedded.version is None:
        yield _embedded("xllamacpp is not installed", "pip install 'nimctl[cpu]'")
    elif not embedded.libgomp:
        fix = "sudo apt-get install libgomp1 (or dnf install libgomp)"
        yield _embedded("xllamacpp cannot be loaded: libgomp.so.1 is missing", fix)
    elif host.cpu.architecture == "x86_64" and missing:
        yield _embedded(f"this processor lacks {', '.join(missing)}, which xllamacpp needs", None)
    else:
        yield _ok("embedded engine", f"llama.cpp, by xllamacpp {embedded.version}")


def registry_checks(seen: Circumstances) -> Iterator[Check]:
    """Keys, by whether there is one."""
    for login in seen.logins:
        name = login.registry
        there = "a key is there" if login.present else f"no key, see `nimctl login {name}`"
        yield _ok("registries", f"{name}: {there}")


def network_checks(seen: Circumstances) -> Iterator[Check]:
    """Proxies and certificates, as the environment has them."""
    for name, proxy in sorted(seen.proxies.items()):
        scheme = urlsplit(proxy if "://" in proxy else f"http://{proxy}").scheme
        if name != "no" and scheme not in ("http", "https"):
            yield Check(
                group="network",
                state=State.PROBLEM,
                message=f"{name}_proxy is {proxy}, which is no HTTP proxy",
                fix=f"export {name}_proxy=http://HOST:PORT",
            )
        else:
            yield _ok("network", f"{name}_proxy is {proxy}")
    if seen.ca_file and not seen.ca_file_exists:
        yield Check(
            group="network",
            state=State.PROBLEM,
            message=f"the certificates {seen.ca_file} do not exist",
            fix="set or unset SSL_CERT_FILE and REQUESTS_CA_BUNDLE",
        )
    elif seen.ca_file:
        yield _ok("network", f"certificates from {seen.ca_file}")
    if not seen.proxies:
        yield _ok("network", "no proxy is set")


def _toolkit(engine: ContainerEngine) -> str:
    install = f"install it ({_TOOLKIT}), then: "
    if engine.kind == "podman":
        return f"{install}sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
    if engine.rootless:
        config = "--config=$HOME/.config/docker/daemon.json"
        configure = f"nvidia-ctk runtime configure --runtime=docker {config}"
        return f"{install}{configure} && systemctl --user restart docker"
    configure = "sudo nvidia-ctk runtime configure --runtime=docker"
    return f"{install}{configure} && sudo systemctl restart docker"


def _embedded(message: str, fix: str | None) -> Check:
    return Check(
        group="embedded engine",
        state=State.PROBLEM,
        message=message,
        fix=fix,
        stops=EMBEDDED_BACKENDS,
    )


def _ok(group: str, message: str) -> Check:
    return Check(group=group, state=State.OK, message=message)


def _gib(count: int) -> str:
    return f"{count / _GIB:.1f} GiB"
