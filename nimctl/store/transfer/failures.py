"""Why a transfer ends: one place for the words, and the one failure that is tried again."""

from collections.abc import Mapping

from nimctl.core.errors import (
    AuthError,
    NetworkError,
    NimctlError,
    NotFoundError,
    OtherContentError,
)
from nimctl.core.facts import File

AGAIN = "run the same command again; it goes on where it stopped"


class TemporaryError(Exception):
    """A request failed in a way that may pass: try again, after `after_s` seconds if given."""

    def __init__(self, cause: str, *, after_s: float | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.after_s = after_s


def refused(path: str, url: str, status: int) -> NimctlError:
    """Say that a server answered with a status that asking again does not change."""
    match status:
        case 401 | 402 | 403 | 407 | 451:
            whose = "the proxy" if status == 407 else url  # noqa: PLR2004 - RFC 9110, 15.5.8
            return AuthError(
                f"{path}: access is refused",
                cause=f"{whose} answered HTTP {status}",
                hint="check the credentials for this registry, and that they cover this model",
            )
        case 404 | 410:
            return NotFoundError(
                f"{path} is not there",
                cause=f"{url} answered HTTP {status}",
                hint="check the name and revision of the model",
            )
        case _:
            return NetworkError(
                f"{path} cannot be had", cause=f"{url} answered HTTP {status}", hint=AGAIN
            )


def recoded(path: str, url: str, coding: str) -> NetworkError:
    """Say that a server sends something else than the file's own bytes."""
    return NetworkError(
        f"{path} does not come as it is",
        cause=f"{url} sends it encoded as {coding}, which was not asked for",
        hint="have the server, or the proxy on the way, send it without Content-Encoding",
    )


def exhausted(path: str, url: str, cause: str) -> NetworkError:
    """Say that patience has run out."""
    return NetworkError(f"{path}: the download from {url} does not go on", cause=cause, hint=AGAIN)


def unstable(path: str, cause: str) -> NetworkError:
    """Say that the content changes while it is read and nothing tells which is right."""
    return NetworkError(
        f"{path} changes on the server while it is downloaded", cause=cause, hint=AGAIN
    )


def wrong_size(path: str, *, expected: int, actual: int) -> OtherContentError:
    """Say that the server offers another number of bytes than the registry promised."""
    return OtherContentError(
        f"{path} is not what the registry promised",
        cause=f"the server has {actual} bytes, expected are {expected}",
        hint="try again later; if it stays, the registry or a proxy on the way is at fault",
    )


def wrong_digest(file: File, actual: Mapping[str, str]) -> OtherContentError | None:
    """Say that the bytes are wrong; None if they have all digests that are expected."""
    for algorithm, expected in file.digests.items():
        if actual[algorithm] != expected:
            return OtherContentError(
                f"{file.path} is not what the registry promised",
                cause=f"{algorithm} is {actual[algorithm]}, expected is {expected}",
                hint="try again later; if it stays, the registry or a proxy on the way is at fault",
            )
    return None
