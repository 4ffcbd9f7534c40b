"""Requests as one account: credentials, and tokens that are exchanged for keys."""

import base64
import re
import threading
import time
import uuid
from collections.abc import Callable
from functools import cached_property
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlencode

from nimctl.core.errors import AuthError, UsageError
from nimctl.core.http import is_this_machine, origin, redacted
from nimctl.core.ngc import NgcCredential
from nimctl.http import Client, Response
from nimctl.registries.ngc.endpoints import Model
from nimctl.registries.ngc.failures import KEY_HINT, refusal
from nimctl.registries.ngc.wire import TokenAnswer, decode

_HEADER_VALUE = re.compile(r"[!-~]*")
_RENEWED_BEFORE_S = 300.0


class _Token(NamedTuple):
    text: str
    renewed_at_s: float


class Session:
    """Sends GET requests with what the credential requires.

    `clock` gives seconds from any start.
    """

    def __init__(
        self,
        client: Client,
        auth_url: str,
        credential: NgcCredential,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._auth_url = auth_url.rstrip("/")
        self._credential = credential
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens: dict[str, _Token] = {}

    @property
    def is_guest(self) -> bool:
        """Whether there is no key."""
        return self._credential.kind == "guest"

    def get(self, url: str, model: Model) -> Response:
        """Ask for what concerns a model; a token that is refused is renewed once.

        Raises:
            AuthError: The key is refused.
            NetworkError: There is no answer.
            UsageError: The URL is not encrypted.
        """
        _require_encryption(url)
        headers = self.headers(model)
        response = self._client.get(url, headers)
        if response.status == HTTPStatus.UNAUTHORIZED and self.renew(model, headers):
            response = self._client.get(url, self.headers(model))
        return response

    def headers(self, model: Model) -> dict[str, str]:
        """The headers that say who asks.

        Raises:
            AuthError: The key is refused.
            NetworkError: There is no token to be had.
        """
        secret = self._credential.secret
        if not _HEADER_VALUE.fullmatch(secret):
            raise AuthError(
                "the NGC key is no key: it has characters that no header can have", hint=KEY_HINT
            )
        match self._credential.kind:
            case "guest":
                return {"X-NGC-Guest-Token": secret or self._guest_token}
            case "bearer":
                return {"Authorization": f"Bearer {secret}"}
            case "legacy":
                return {"Authorization": f"Bearer {self._token(model)}"}

    def renew(self, model: Model, refused: dict[str, str]) -> bool:
        """Forget the token that some headers have; tells whether another can be had."""
        if self._credential.kind != "legacy":
            return False
        with self._lock:
            token = self._tokens.get(_scopes(model))
            if token and refused.get("Authorization") == f"Bearer {token.text}":
                del self._tokens[_scopes(model)]
        return True

    @cached_property
    def _guest_token(self) -> str:
        return str(uuid.uuid4())

    def _token(self, model: Model) -> str:
        with self._lock:
            scopes = _scopes(model)
            token = self._tokens.get(scopes)
            if token is None or self._clock() >= token.renewed_at_s:
                token = self._exchange(model, scopes)
                self._tokens[scopes] = token
            return token.text

    def _exchange(self, model: Model, scopes: str) -> _Token:
        url = f"{self._auth_url}/token?{scopes}"
        _require_encryption(url)
        pair = base64.b64encode(f"$oauthtoken:{self._credential.secret}".encode()).decode()
        response = self._client.get(url, {"Authorization": f"Basic {pair}"})
        if response.status != HTTPStatus.OK:
            raise refusal(response, model, is_guest=False)
        answer = decode(response, TokenAnswer)
        lasts_s = max(answer.expires_in - _RENEWED_BEFORE_S, answer.expires_in / 2)
        return _Token(answer.token, self._clock() + lasts_s)


def _scopes(model: Model) -> str:
    owners = [model.org, f"{model.org}/{model.team}"] if model.team else [model.org]
    pairs = [("service", "ngc"), *(("scope", f"group/ngc:{owner}") for owner in owners)]
    return urlencode(pairs, safe=":/")


def _require_encryption(url: str) -> None:
    if origin(url).scheme != "https" and not is_this_machine(origin(url).host):
        raise UsageError(
            f"{redacted(url)} is not encrypted",
            cause="keys and models of NGC travel over https, or within this machine",
            hint="set NGC_CLI_API_URL and NGC_CLI_AUTH_URL to https:// addresses",
        )
