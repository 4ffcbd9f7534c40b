"""The SDK's exceptions in nimctl's words."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import requests
import urllib3
from docker.errors import APIError, DockerException, create_api_error_from_http_exception

from nimctl.core.errors import (
    AuthError,
    ContainerEngineError,
    DiskFullError,
    HardwareError,
    LimitRefusedError,
    NetworkError,
    NimctlError,
    NotFoundError,
    UsageError,
)

_NO_ROOM = "no space left on device"
_NO_ACCESS = ("unauthorized", "denied", "authentication", "no basic auth", " 402 ", " 403 ")


@contextmanager
def translated(action: str, where: str) -> Iterator[None]:
    """Turn what the SDK raises into an error that says what was attempted at which endpoint."""
    try:
        yield
    except APIError as error:
        raise refusal(action, error.explanation or str(error)) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, DockerException) as error:
        raise ContainerEngineError(
            f"{action}: the container engine does not answer any more",
            cause=f"{where}: {_innermost(error)}",
            hint="systemctl status docker, then the same command again",
        ) from error


def answered(response: requests.Response) -> None:
    """Let an answer that is a refusal raise as the SDK's own methods do.

    Raises:
        APIError: The status is no success.
    """
    try:
        response.raise_for_status()
    except requests.HTTPError as error:
        # This reads the answer to its end, and so lets the connection go.
        create_api_error_from_http_exception(error)


class _Meaning(NamedTuple):
    """What a text of the engine means: any of `texts`, in lower case, is in what it said."""

    texts: tuple[str, ...]
    kind: type[NimctlError]
    message: str
    hint: str


_TOOLKIT = (
    "install the nvidia-container-toolkit, then: nvidia-ctk runtime configure "
    "--runtime=docker && systemctl restart docker"
)
# Texts of moby 20.10 to 28, runc, and libnvidia-container; the first that matches counts.
_MEANINGS = (
    _Meaning(
        (_NO_ROOM,),
        DiskFullError,
        "the disk of the container engine is full",
        "docker system df, then docker image prune",
    ),
    _Meaning(
        ("could not select device driver", "unresolvable cdi devices"),
        ContainerEngineError,
        "the container engine cannot hand over NVIDIA GPUs",
        _TOOLKIT,
    ),
    _Meaning(
        ("nvidia-container-cli", "no such device"),
        HardwareError,
        "the GPU cannot be handed to the container",
        "nvidia-smi -L",
    ),
    _Meaning(
        # A rootless engine, or one in a container, has no right to go above its own hard limit.
        ("error setting rlimit", "setrlimit"),
        LimitRefusedError,
        "the container engine may not lift this limit",
        "LimitMEMLOCK=infinity in the engine's systemd unit",
    ),
    _Meaning(
        ("container-init binary not found",),
        ContainerEngineError,
        "Podman lacks the program that ends processes left over",
        "apt-get install catatonit (or dnf install catatonit)",
    ),
    _Meaning(
        ("exec format error",),
        HardwareError,
        "the image is for another architecture than this machine",
        "docker image inspect shows its Architecture; name another with --image",
    ),
    _Meaning(
        ("port is already allocated", "address already in use"),
        UsageError,
        "its port is taken",
        "choose another with --port, or let nimctl choose with --port auto",
    ),
    _Meaning(
        ("is already in use by container", "name is already in use"),
        UsageError,
        "the name is taken by another container",
        "choose another with --name, or docker rm it",
    ),
    _Meaning(
        ("no such image",),
        NotFoundError,
        "the engine does not have the image",
        "pull it first, or name another with --image",
    ),
    _Meaning(
        ("executable file not found", "unable to start container process: exec:"),
        UsageError,
        "its program is not in the image",
        "name an image of this backend with --image",
    ),
    _Meaning(("no such container",), NotFoundError, "there is no such container", "nimctl ps -a"),
)


def refusal(action: str, said: str) -> NimctlError:
    """What the engine said when it refused, in words that help."""
    said = said.strip()
    low = said.lower()
    for meaning in _MEANINGS:
        if any(text in low for text in meaning.texts):
            return meaning.kind(f"{action}: {meaning.message}", cause=said, hint=meaning.hint)
    return ContainerEngineError(
        f"{action}: the container engine refused",
        cause=said,
        hint="its own log may say more: journalctl --unit docker",
    )


def pull_refusal(reference: str, said: str) -> NimctlError:
    """Why an image could not be pulled; registries answer alike for absent and for forbidden."""
    low = said.lower()
    registry = reference.partition("/")[0]
    action = f"pulling {reference}"
    if _NO_ROOM in low:
        return refusal(action, said)
    if any(word in low for word in _NO_ACCESS):
        return AuthError(
            f"{registry} does not give out {reference}",
            cause=f"{said}; it says so as well when there is no such image",
            hint="nimctl login ngc" if registry == "nvcr.io" else f"docker login {registry}",
        )
    if "no matching manifest" in low or "does not match the specified platform" in low:
        return NotFoundError(
            f"{reference} is not made for this architecture",
            cause=said,
            hint="name another image with --image",
        )
    if any(word in low for word in ("not found", "manifest unknown", "invalid reference")):
        return NotFoundError(f"there is no image {reference}", cause=said)
    return NetworkError(
        f"{action} failed",
        cause=said,
        hint="the same command again goes on with the layers that are missing",
    )


def unreachable(url: str, error: OSError) -> ContainerEngineError:
    """Why nobody answers at an endpoint, and what to do about it."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return ContainerEngineError(
            f"this user may not use the container engine at {url}",
            cause="permission denied on its socket",
            hint="sudo usermod -aG docker $USER, then log in again",
        )
    if error.errno == errno.ENOENT:
        return ContainerEngineError(
            f"no container engine at {url}",
            cause="Docker or Podman is not installed, or not started",
            hint="https://docs.docker.com/engine/install, or systemctl start docker",
        )
    local = url.startswith("unix:")
    return ContainerEngineError(
        f"the container engine at {url} does not answer",
        cause=error.strerror or str(error) or "no answer in time",
        hint="systemctl start docker" if local else "check DOCKER_HOST, or docker context ls",
    )


def _innermost(error: BaseException) -> str:
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return str(error) or type(error).__name__
