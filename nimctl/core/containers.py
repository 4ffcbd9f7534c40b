"""Containers as nimctl wants them: plain values that every engine and every export renders."""

import shlex
from ipaddress import ip_network
from typing import Literal

from nimctl.core.value import Value

# Of labels of containers and annotations of artifacts; a part of the outside interface.
LABEL_PREFIX = "dev.nimctl."
# A bridge without a way out. A network that Docker calls internal publishes no port, so that nobody
# could ask the server anything. In this one the way to other networks leads to an address that
# nobody has, and packets live for one hop (`sysctls`), for engines that know no such address.
OFFLINE_NETWORK = "nimctl-offline"
# Who asks from another machine is answered through the machine's own gateway. Here only the
# private addresses are not hidden behind the machine's own.
OFFLINE_EXPOSED = "nimctl-offline-exposed"
OFFLINE_NETWORKS = (OFFLINE_NETWORK, OFFLINE_EXPOSED)
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
BRIDGE = "com.docker.network.bridge.name"
# Of two networks of one name the engine finds neither, and it makes them if two processes ask at
# once; two on one bridge it never makes.
_BRIDGES = {OFFLINE_NETWORK: "nimctl0", OFFLINE_EXPOSED: "nimctl1"}
# libnetwork's name of an auxiliary address, in libnetwork/drivers/bridge/bridge_linux.go:
# https://github.com/moby/moby
DEFAULT_GATEWAY = "DefaultGatewayIPv4"


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

    @property
    def cdi_names(self) -> tuple[str, ...]:
        """Their names in NVIDIA's CDI specifications."""
        return tuple(f"nvidia.com/gpu={uuid}" for uuid in self.uuids)


class HealthCheck(Value):
    """A command that the engine runs inside; times in seconds."""

    command: tuple[str, ...]
    interval_s: float = 5.0
    timeout_s: float = 3.0
    retries: int = 3
    start_period_s: float = 0.0


class Secret(Value):
    """A file of the host whose content the process needs and nobody else may see.

    It is mounted read-only at `/run/secrets/NAME`, so that neither plan, argv, log nor
    `docker inspect` holds what is in it. For a program that takes it from the environment only,
    `variable` names what a shell in the container sets before it becomes that program; `inspect`
    does not show that either.
    """

    name: str
    source: str
    variable: str | None = None

    @property
    def target(self) -> str:
        """Where the container has it."""
        return f"/run/secrets/{self.name}"

    @property
    def mount(self) -> Mount:
        """How it gets there."""
        return Mount(source=self.source, target=self.target)


class ContainerSpec(Value):
    """Everything that a container is created with.

    Safe unless told otherwise: no capabilities, no new privileges, a read-only root file system,
    read-only mounts, loopback ports. `command` replaces the image's, `entrypoint` too where it is
    not None. `tmpfs` maps a directory to its size in bytes. `ulimits` are soft and hard limit
    alike, -1 for none. `network` is `bridge`, `host`, `none`, or a name: those of OFFLINE_NETWORKS
    are made when they are needed. Servers are bound to no processors: docs/adr/0019. Where a secret
    becomes a variable and `entrypoint` is not said, the engine is asked for the image's when the
    container is created.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    environment: dict[str, str] = {}
    secrets: tuple[Secret, ...] = ()
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


def user_inside(uid: int, gid: int, *, rootless: bool) -> str:
    """UID:GID that a container runs as: the caller's, but never those of the machine's root.

    In a rootless engine it is the caller who is root inside, and whoever else is inside may read
    nothing of the caller's (https://docs.docker.com/engine/security/rootless/; unverified here).
    """
    if rootless:
        return "0:0"
    return f"{uid}:{gid}" if uid else "1000:1000"


def started_command(spec: ContainerSpec) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Entrypoint, None for the image's own, and command, as a container is created with them.

    An entrypoint of several words is split, since `docker run --entrypoint` takes one. Secrets
    that become variables put a shell in front, which the program then replaces.
    """
    if spec.entrypoint is None:
        return None, spec.command
    words = (*spec.entrypoint, *spec.command)
    variables = [secret for secret in spec.secrets if secret.variable]
    if variables:
        exports = "".join(f'export {one.variable}="$(cat {one.target})"; ' for one in variables)
        words = ("/bin/sh", "-c", f'{exports}exec "$@"', "sh", *words)
    elif not spec.entrypoint:
        return ("",), spec.command
    return words[:1], words[1:]


def needs_entrypoint(spec: ContainerSpec) -> bool:
    """Whether a shell goes in front of a program that only the image knows."""
    return spec.entrypoint is None and any(secret.variable for secret in spec.secrets)


def sysctls(spec: ContainerSpec) -> dict[str, str]:
    """Kernel parameters of the container's network."""
    return {"net.ipv4.ip_default_ttl": "1"} if spec.network == OFFLINE_NETWORK else {}


def name_servers(spec: ContainerSpec) -> tuple[str, ...]:
    """Who is asked for names: nobody answers in a container that is offline, and that at once."""
    return ("127.0.0.1",) if spec.network in OFFLINE_NETWORKS else ()


def network_options(name: str) -> dict[str, str]:
    """What a network of OFFLINE_NETWORKS is made with.

    https://docs.docker.com/engine/network/drivers/bridge/#options.
    """
    return {MASQUERADE: "false", BRIDGE: _BRIDGES[name]}


def nobody(subnet: str) -> str:
    """The address in a network for containers that stands for its gateway, and that nobody has."""
    network = ip_network(subnet)
    return str(network.network_address + min(254, network.num_addresses - 2))


def tmpfs_options(size: int) -> str:
    """What a tmpfs of so many bytes is mounted with: writable for any user."""
    return f"rw,nosuid,nodev,size={size},mode=1777"


def health_command(check: HealthCheck) -> str:
    """The check for a shell, which is all that `docker run` can say."""
    return shlex.join(check.command)


class EngineAccess(Value):
    """Where a container engine may be, as environment and configuration say.

    `host` is DOCKER_HOST, `context` names a Docker context under `config_directory`, `sockets` are
    tried in order when neither says anything. `certificates` is the directory of ca.pem, cert.pem
    and key.pem.
    """

    host: str | None = None
    context: str | None = None
    config_directory: str | None = None
    tls: bool = False
    tls_verify: bool = False
    certificates: str | None = None
    sockets: tuple[str, ...] = ()


class RegistryLogin(Value):
    """What an image registry wants to know before a pull."""

    username: str
    password: str

    def __repr__(self) -> str:
        """Without the secret."""
        return f"RegistryLogin(username={self.username!r})"


def image_registry(image: str) -> tuple[str, str]:
    """Registry and repository of an image's name, as Docker reads it.

    https://pkg.go.dev/github.com/distribution/reference#ParseNormalizedNamed.
    """
    first, slash, rest = image.partition("/")
    if slash and (first == "localhost" or set(first) & set(".:")):
        return first, rest.partition("@")[0].partition(":")[0]
    return "docker.io", image.partition("@")[0].partition(":")[0]


class Image(Value):
    """An image that the engine has.

    `id` is the digest of its configuration, `digests` are those of its manifests in registries
    (`nvcr.io/nim/x@sha256:…`). `architecture` is as platforms have it (`amd64`); size in bytes;
    `environment` as NAME=VALUE.
    """

    reference: str
    id: str
    digests: tuple[str, ...] = ()
    architecture: str
    system: str = "linux"
    size: int
    labels: dict[str, str] = {}
    user: str = ""
    working_directory: str = ""
    environment: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


class ImageOffer(Value):
    """An image as its registry has it; `size` counts its layers as they are sent, in bytes."""

    reference: str
    architectures: tuple[str, ...]
    size: int | None


class ContainerState(Value):
    """What a container is doing; times RFC 3339, None where it has not happened.

    `error` is the engine's own word on a start that failed.
    """

    status: Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    health: Literal["none", "starting", "healthy", "unhealthy"] = "none"
    restarts: int = 0
    started: str | None = None
    finished: str | None = None

    @property
    def is_running(self) -> bool:
        """Whether there is a process, or will be one again."""
        return self.status in ("running", "paused", "restarting")


class Container(Value):
    """A container that the engine has; `created` is RFC 3339, `gpus` are UUIDs."""

    id: str
    name: str
    image: str
    labels: dict[str, str]
    state: ContainerState
    created: str
    gpus: tuple[str, ...] = ()


class Usage(Value):
    """What a container uses: memory in bytes, and what it has read from disks since it started."""

    memory_bytes: int
    read_bytes: int
