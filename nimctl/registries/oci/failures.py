"""Refusals of a registry in words, its own ones included. Pure."""

from http import HTTPStatus

import msgspec

from nimctl.core.errors import AuthError, NetworkError, NimctlError, NotFoundError
from nimctl.core.http import redacted, status_line
from nimctl.http import Response

_LONGEST_CHARACTERS = 300
_DENIED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class _Problem(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Problems(msgspec.Struct):
    """The specification's form, and the one of Docker Hub's token service."""

    errors: list[_Problem] = []
    details: str = ""


def said(body: bytes) -> str | None:
    """What the registry says about a failure; None if it says nothing that can be shown.

    https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#error-codes
    """
    try:
        problems = msgspec.json.decode(body, type=_Problems)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    words = [
        ": ".join(part for part in (one.code, one.message) if part) for one in problems.errors
    ] or [problems.details]
    text = "; ".join(word for word in words if word)
    shown = "".join(character for character in text if character.isprintable())
    return f"the registry says: {shown[:_LONGEST_CHARACTERS]}" if shown else None


def failure(host: str, repository: str, answer: Response, *, with_login: bool) -> NimctlError:
    """The error that an answer means which is no success; `with_login` if credentials were sent."""
    words = said(answer.body)
    if answer.status in _DENIED:
        return denied(host, repository, words, with_login=with_login)
    if answer.status == HTTPStatus.NOT_FOUND:
        return NotFoundError(f"{redacted(answer.url)} does not exist", cause=words)
    return NetworkError(
        f"{host} answers {status_line(answer.status)} for {redacted(answer.url)}", cause=words
    )


def denied(host: str, repository: str, words: str | None, *, with_login: bool) -> AuthError:
    """Say that access is refused."""
    if with_login:
        message = f"{host} refuses these credentials for {repository}"
    else:
        message = f"{host} wants credentials for {repository}, or there is no such repository"
    return AuthError(message, cause=words, hint=f"docker login {host}")
