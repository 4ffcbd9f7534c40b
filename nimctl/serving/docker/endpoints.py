"""Where the container engine answers: DOCKER_HOST, a Docker context, or a socket of this machine.

Contexts: https://docs.docker.com/engine/manage-resources/contexts/; their files as in
https://github.com/docker/cli/tree/v28.2.2/cli/context/store.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from nimctl.core.containers import EngineAccess
from nimctl.core.errors import ContainerEngineError, NoContainerEngineError, UsageError
from nimctl.core.value import Value

_DEFAULT_CONTEXT = "default"
_GUESSED = "default"
_CDI_KIND = "nvidia.com/gpu"
_SCHEMES = ("unix", "tcp", "http", "https", "ssh")


class Endpoint(Value):
    """One place to try. `url` is `unix:///path`, `tcp://host:port` or `ssh://user@host`.

    `ca_file`, `cert_file` and `key_file` are for TLS, which `tls` turns on.
    """

    url: str
    said_by: str = _GUESSED
    tls: bool = False
    verify: bool = True
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    @property
    def is_guess(self) -> bool:
        """Whether nobody said that there is one: then there may well be none."""
        return self.said_by == _GUESSED

    @property
    def scheme(self) -> str:
        """What comes before the colon."""
        return self.url.partition(":")[0]

    @property
    def path(self) -> Path:
        """The socket of a `unix` endpoint."""
        return Path(self.url.removeprefix("unix://"))


class _DockerEndpoint(msgspec.Struct):
    host: str = msgspec.field(name="Host", default="")
    skip_verify: bool = msgspec.field(name="SkipTLSVerify", default=False)


class _ContextMeta(msgspec.Struct):
    endpoints: dict[str, _DockerEndpoint] = msgspec.field(name="Endpoints", default={})


class _Config(msgspec.Struct):
    current: str = msgspec.field(name="currentContext", default="")


def endpoints(access: EngineAccess) -> tuple[Endpoint, ...]:
    """What to try, in order; one only where the user said which.

    Raises:
        UsageError: DOCKER_HOST or the context is malformed, or there is no such context.
    """
    if access.host:
        return (_said(access.host, access, "DOCKER_HOST"),)
    directory = Path(access.config_directory) if access.config_directory else None
    if directory:
        name = access.context or _current(directory / "config.json")
        if name and name != _DEFAULT_CONTEXT:
            return (_context(name, directory / "contexts"),)
    return tuple(Endpoint(url=f"unix://{path}") for path in access.sockets)


def require_one(candidates: Iterable[Endpoint]) -> None:
    """See whether there is anything to try, before the SDK is loaded to try it.

    Raises:
        NoContainerEngineError: There is not: these are sockets of this machine, and none is there.
    """
    if all(one.is_guess and not one.path.exists() for one in candidates):
        raise no_engine()


def no_engine() -> NoContainerEngineError:
    """The error for a machine without a container engine."""
    return NoContainerEngineError(
        "there is no container engine on this machine",
        cause="neither Docker nor Podman listens on its socket",
        hint="https://docs.docker.com/engine/install, or set DOCKER_HOST",
    )


def _said(host: str, access: EngineAccess, said_by: str) -> Endpoint:
    url = _checked(host, said_by)
    if not (access.tls or access.tls_verify) or url.startswith("unix:"):
        return Endpoint(url=url, said_by=said_by)
    verify = access.tls_verify
    return _with_tls(url, said_by, Path(access.certificates or "."), verify=verify)


def _context(name: str, directory: Path) -> Endpoint:
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta = directory / "meta" / digest / "meta.json"
    try:
        found = msgspec.json.decode(meta.read_bytes(), type=_ContextMeta)
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no Docker context `{name}`",
            cause=f"{meta} does not exist",
            hint="docker context ls, then docker context use NAME or unset DOCKER_CONTEXT",
        ) from error
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"the Docker context `{name}` cannot be read", cause=str(error)) from error
    endpoint = found.endpoints.get("docker")
    said_by = f"Docker context {name}"
    if endpoint is None or not endpoint.host:
        raise UsageError(f"the Docker context `{name}` names no Docker endpoint", cause=str(meta))
    url = _checked(endpoint.host, said_by)
    certificates = directory / "tls" / digest / "docker"
    if url.startswith("unix:") or not certificates.is_dir():
        return Endpoint(url=url, said_by=said_by)
    return _with_tls(url, said_by, certificates, verify=not endpoint.skip_verify)


def _current(config: Path) -> str:
    try:
        return msgspec.json.decode(config.read_bytes(), type=_Config).current
    except OSError:
        return ""
    except msgspec.DecodeError as error:
        raise UsageError(f"{config} is no valid JSON", cause=str(error)) from error


def _checked(host: str, said_by: str) -> str:
    scheme, colon, rest = host.partition("://")
    if not colon:
        # As the docker command takes it: a bare HOST:PORT is TCP.
        scheme, rest = "tcp", host
    if scheme not in _SCHEMES or not rest:
        raise UsageError(
            f"{said_by} is no address of a container engine: {host}",
            cause="nimctl speaks to " + ", ".join(f"{one}://" for one in _SCHEMES),
            hint="DOCKER_HOST=unix:///var/run/docker.sock, for example",
        )
    return f"{scheme}://{rest}"


def _with_tls(url: str, said_by: str, certificates: Path, *, verify: bool) -> Endpoint:
    files = {name: certificates / f"{name}.pem" for name in ("ca", "cert", "key")}
    there = {name: str(path) for name, path in files.items() if path.is_file()}
    if verify and "ca" not in there:
        raise ContainerEngineError(
            f"TLS to {url} needs {files['ca']}, which is not there",
            cause=f"{said_by} asks for a verified connection",
            hint="set DOCKER_CERT_PATH to the directory of ca.pem, cert.pem and key.pem",
        )
    pair = "cert" in there and "key" in there
    return Endpoint(
        url=url,
        said_by=said_by,
        tls=True,
        verify=verify,
        ca_file=there.get("ca"),
        cert_file=there["cert"] if pair else None,
        key_file=there["key"] if pair else None,
    )


class _CdiDevice(msgspec.Struct):
    name: str


class _CdiSpec(msgspec.Struct):
    kind: str = ""
    devices: list[_CdiDevice] = []


def cdi_gpus(directories: Iterable[Path]) -> Iterator[str]:
    """Names of the GPUs in CDI specifications, which are JSON, or YAML as nvidia-ctk writes it.

    Source: https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md.
    """
    for directory in directories:
        for path in sorted(directory.glob("*")):
            try:
                found = _READERS[path.suffix](path.read_text(encoding="utf-8"))
            except (KeyError, OSError, UnicodeDecodeError, msgspec.DecodeError):
                # The engine reads them as well, and says what is wrong with them.
                continue
            if found.kind == _CDI_KIND:
                yield from (f"{_CDI_KIND}={device.name}" for device in found.devices)


def _from_json(text: str) -> _CdiSpec:
    return msgspec.json.decode(text, type=_CdiSpec)


def _from_yaml(text: str) -> _CdiSpec:
    # No other key of a specification for GPUs is called `name`: a list of those is all there is
    # to read, and no reason to load a YAML parser.
    kind = re.search(r'^kind:\s*"?([^"\s]+)', text, re.MULTILINE)
    names = re.findall(r'^\s*-?\s*name:\s*"?([^"\s]+)', text, re.MULTILINE)
    return _CdiSpec(kind=kind[1] if kind else "", devices=[_CdiDevice(name=name) for name in names])


_READERS = {".json": _from_json, ".yaml": _from_yaml, ".yml": _from_yaml}
