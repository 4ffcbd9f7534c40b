"""A connection to the first engine that answers."""

import contextlib
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from docker import APIClient
from docker.errors import DockerException, TLSParameterError
from docker.tls import TLSConfig

from nimctl.core.errors import ContainerEngineError
from nimctl.core.machine import ContainerEngine
from nimctl.core.servers import LOOPBACK
from nimctl.serving.docker.endpoints import Endpoint, cdi_gpus, no_engine
from nimctl.serving.docker.failures import translated, unreachable
from nimctl.serving.docker.tunnel import Tunnel

# Device requests, without which no GPU can be asked for by UUID, came with Docker 19.03:
# https://docs.docker.com/reference/api/engine/version-history/#v140-api-changes
_OLDEST_API = (1, 40)
_KNOCK_S = 2.0
# Of one answer; listing or inspecting may take long on a busy engine.
ANSWER_S = 60
_GPU_CDI_PREFIX = "nvidia.com/gpu="
_CDI_DIRECTORIES = (Path("/etc/cdi"), Path("/var/run/cdi"))
# As `uname -m` has it, to what image platforms call it (https://go.dev/doc/install/source#environment).
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Connection:
    """A client of an engine, where it answers, and the tunnel that leads there."""

    def __init__(self, client: APIClient, endpoint: Endpoint, version: dict[str, Any]) -> None:
        self.client = client
        self.endpoint = endpoint
        self._version = version
        self.tunnel: Tunnel | None = None

    def describe(self) -> ContainerEngine:
        """What the engine is and what it offers."""
        with translated("asking for its properties", self.endpoint.url):
            info: dict[str, Any] = self.client.info()
        architecture = str(self._version.get("Arch") or info.get("Architecture") or "")
        return ContainerEngine(
            kind=self.kind,
            version=str(self._version.get("Version", "")),
            endpoint=self.endpoint.url,
            architecture=_ARCHITECTURES.get(architecture, architecture),
            rootless=any("rootless" in one for one in info.get("SecurityOptions") or ()),
            nvidia_runtime=self._hands_over_nvidia(info),
            cdi_gpus=self._cdi(info),
            disk_free_bytes=self._disk_free(info),
        )

    def _hands_over_nvidia(self, info: dict[str, Any]) -> bool:
        if "nvidia" in (info.get("Runtimes") or {}):
            return True
        # The daemon takes device requests as soon as it finds this program, registered or not:
        # https://github.com/moby/moby/blob/v28.2.2/daemon/nvidia_linux.go
        return self.is_local and shutil.which("nvidia-container-runtime-hook") is not None

    def _cdi(self, info: dict[str, Any]) -> tuple[str, ...]:
        # API 1.50 lists them; before, the directories are named, if CDI is enabled at all.
        listed = [one.get("ID", "") for one in info.get("DiscoveredDevices") or ()]
        if not listed and self.is_local:
            named = tuple(Path(one) for one in info.get("CDISpecDirs") or ())
            listed = list(cdi_gpus(_CDI_DIRECTORIES if self.kind == "podman" else named))
        return tuple(sorted({one for one in listed if one.startswith(_GPU_CDI_PREFIX)}))

    def _disk_free(self, info: dict[str, Any]) -> int | None:
        # Docker Desktop's directory is one of its virtual machine.
        is_elsewhere = not self.is_local or info.get("OperatingSystem") == "Docker Desktop"
        root = info.get("DockerRootDir")
        if is_elsewhere or not root:
            return None
        try:
            return shutil.disk_usage(root).free
        except OSError:
            return None

    @property
    def kind(self) -> Literal["docker", "podman"]:
        """Whose engine it is."""
        components = self._version.get("Components") or ()
        podman = any("podman" in str(one.get("Name", "")).lower() for one in components)
        return "podman" if podman else "docker"

    @property
    def is_local(self) -> bool:
        """Whether the engine runs on this machine."""
        return self.endpoint.scheme == "unix"

    @property
    def publishes_here(self) -> bool:
        """Whether the ports of its containers are those of this machine."""
        return self.is_local or urlsplit(self.endpoint.url).hostname in LOOPBACK

    def close(self) -> None:
        """Close the client and end the tunnel."""
        self.client.close()
        if self.tunnel:
            self.tunnel.close()


def connect(candidates: Iterable[Endpoint], answer_s: int = ANSWER_S) -> Connection:
    """Connect to the first that answers; `answer_s` is for how long it may be silent.

    Raises:
        NoContainerEngineError: There is none.
        ContainerEngineError: None answers; it says what is wrong with the likeliest.
    """
    failures: list[ContainerEngineError] = []
    for endpoint in candidates:
        try:
            return _connect(endpoint, answer_s)
        except _AbsentError as error:
            failures.append(error)
        except ContainerEngineError as error:
            # There is one, it only does not answer: of more use than that others are absent.
            failures.insert(0, error)
    if all(isinstance(failure, _AbsentError) for failure in failures):
        raise no_engine() from next(iter(failures), None)
    raise failures[0]


class _AbsentError(ContainerEngineError):
    """Nothing was ever there."""


def _connect(endpoint: Endpoint, answer_s: int) -> Connection:
    if endpoint.scheme != "ssh":
        return _dial(endpoint, endpoint, answer_s)
    tunnel = Tunnel(endpoint.url)
    near = Endpoint(url=tunnel.open(), said_by=endpoint.said_by)
    try:
        connection = _dial(endpoint, near, answer_s)
    except BaseException:
        tunnel.close()
        raise
    connection.tunnel = tunnel
    return connection


def _dial(endpoint: Endpoint, near: Endpoint, answer_s: int) -> Connection:
    _knock(near)
    try:
        tls = _tls(near) if near.tls else False
        client = APIClient(base_url=near.url, version="1.40", timeout=answer_s, tls=tls)
    except (DockerException, OSError) as error:
        raise ContainerEngineError(
            f"cannot connect to {endpoint.url}", cause=str(error), hint="check DOCKER_CERT_PATH"
        ) from error
    try:
        version = _ask_version(client, endpoint)
        api = str(version.get("ApiVersion", "0"))
        _check_api(api, version, endpoint)
    finally:
        client.close()
    client = APIClient(base_url=near.url, version=api, timeout=answer_s, tls=tls)
    # No proxy of the environment lies between nimctl and its engine.
    client.trust_env = False
    return Connection(client, endpoint, version)


def _ask_version(client: APIClient, endpoint: Endpoint) -> dict[str, Any]:
    client.trust_env = False
    with translated("asking for its version", endpoint.url):
        answer: object = client.version(api_version=False)
    if not isinstance(answer, dict):
        raise ContainerEngineError(
            f"what answers at {endpoint.url} is no container engine",
            cause="it names no version",
            hint="check DOCKER_HOST, or docker context ls",
        )
    return answer


def _knock(endpoint: Endpoint) -> None:
    """Find out at once, and in the system's words, whether anyone listens."""
    try:
        if endpoint.scheme == "unix":
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(_KNOCK_S)
                probe.connect(str(endpoint.path))
            return
        parts = urlsplit(endpoint.url)
        with contextlib.closing(
            socket.create_connection((parts.hostname or "", parts.port or 2375), _KNOCK_S)
        ):
            pass
    except OSError as error:
        known = unreachable(endpoint.url, error)
        if endpoint.is_guess and isinstance(error, FileNotFoundError):
            raise _AbsentError(known.message, cause=known.cause, hint=known.hint) from error
        raise known from error


def _tls(endpoint: Endpoint) -> TLSConfig:
    pair = (endpoint.cert_file, endpoint.key_file)
    try:
        return TLSConfig(
            client_cert=(pair[0], pair[1]) if pair[0] and pair[1] else None,
            ca_cert=endpoint.ca_file,
            verify=endpoint.verify,
        )
    except TLSParameterError as error:
        raise ContainerEngineError(
            f"TLS to {endpoint.url} cannot be set up", cause=str(error)
        ) from error


def _check_api(api: str, version: dict[str, Any], endpoint: Endpoint) -> None:
    numbers = tuple(int(part) for part in api.split(".") if part.isdigit())
    if numbers < _OLDEST_API:
        raise ContainerEngineError(
            f"the container engine at {endpoint.url} is too old",
            cause=f"version {version.get('Version')} has API {api}, nimctl needs "
            f"{'.'.join(map(str, _OLDEST_API))}",
            hint="upgrade to Docker 19.03 or later",
        )
