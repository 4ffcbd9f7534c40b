"""What requests to a registry carry: a Basic login, or a Bearer token that is renewed.

https://distribution.github.io/distribution/spec/auth/token/
"""

import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import msgspec

from nimctl.core.errors import AuthError, NetworkError
from nimctl.core.http import is_this_machine, origin, redirected
from nimctl.http import Client, Response
from nimctl.registries.oci.challenges import Challenge, chosen, parse
from nimctl.registries.oci.failures import denied, failure, said
from nimctl.registries.oci.places import Place
from nimctl.registries.oci.proofs import Nobody, Proof, TokenRequest

# The specification's lifetime of a token that does not tell its own.
_DEFAULT_LIFETIME_S = 60.0
_USED_SHARE = 0.9
_TOKEN_REFUSED = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)

Clock = Callable[[], float]
Scopes = tuple[str, ...]


class Credentials(Protocol):
    """Where logins come from."""

    def login(self, host: str, repository: str) -> Proof | None:
        """The login for a repository; None when there is none."""
        ...


class Grant(NamedTuple):
    """Headers that open a repository until a moment of the clock; None for ever."""

    headers: Mapping[str, str]
    expires_at_s: float | None = None
    with_login: bool = False


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: float | None = None


_OPEN = Grant({})


class Authorizer:
    """Keeps the challenge of each registry and a grant for each scope; threads may share it.

    `clock` counts seconds.
    """

    def __init__(
        self, client: Client, credentials: Credentials, *, clock: Clock = time.monotonic
    ) -> None:
        self._client = client
        self._credentials = credentials
        self._clock = clock
        self._lock = threading.RLock()
        self._challenges: dict[str, Challenge | None] = {}
        self._grants: dict[tuple[str, Scopes], Grant] = {}

    def known(self, place: Place, scopes: Scopes) -> Grant:
        """The grant as far as the registry has asked for one; an empty one before it has."""
        with self._lock:
            if place.base not in self._challenges:
                return _OPEN
            return self.grant(place, scopes)

    def grant(
        self, place: Place, scopes: Scopes, *, refused: Mapping[str, str] | None = None
    ) -> Grant:
        """A grant that has not expired and has other headers than the `refused` ones.

        Raises:
            AuthError: There are no credentials, or the registry's token service refuses them.
            NetworkError: The registry or its token service cannot be reached or answers nonsense.
        """
        key = (place.base, scopes)
        with self._lock:
            if place.base not in self._challenges:
                self._ask_for_challenge(place)
            held = self._grants.get(key)
            if held and not self._is_stale(held) and held.headers != refused:
                return held
            self._grants[key] = new = self._obtain(place, scopes)
            return new

    def has_login(self, place: Place, scopes: Scopes) -> bool:
        """Whether the grant that is held now was had with a login."""
        with self._lock:
            return self._grants.get((place.base, scopes), _OPEN).with_login

    def accept(self, place: Place, answer: Response) -> bool:
        """Take over the challenge of an answer; returns whether it has one that can be met.

        Only the registry itself may say where its login is sent, not whom it redirects to.
        """
        challenge = chosen(parse(answer.headers.get("www-authenticate", "")))
        is_asked = answer.status == HTTPStatus.UNAUTHORIZED
        if not is_asked or challenge is None or origin(answer.url) != origin(place.base):
            return False
        with self._lock:
            self._challenges[place.base] = challenge
        return True

    def _ask_for_challenge(self, place: Place) -> None:
        # With a header, so that the client does not add what ~/.netrc has.
        answer = self._client.get(f"{place.base}/v2/", {"Accept": "application/json"})
        if not self.accept(place, answer):
            self._challenges[place.base] = None

    def _is_stale(self, grant: Grant) -> bool:
        return grant.expires_at_s is not None and self._clock() >= grant.expires_at_s

    def _obtain(self, place: Place, scopes: Scopes) -> Grant:
        challenge = self._challenges[place.base]
        if challenge is None:
            return _OPEN
        login = self._credentials.login(place.host, place.repository)
        if challenge.scheme == "basic":
            if login is None or login.basic is None:
                raise denied(place.host, place.repository, None, with_login=login is not None)
            return Grant({"Authorization": login.basic}, with_login=True)
        return self._fetch_token(place, challenge, scopes, login)

    def _fetch_token(
        self, place: Place, challenge: Challenge, scopes: Scopes, login: Proof | None
    ) -> Grant:
        realm = _checked_realm(place, challenge)
        wanted = TokenRequest(realm, challenge.parameters.get("service"), scopes)
        began_s = self._clock()
        answer = (login or Nobody()).ask(self._client, wanted)
        if answer.status in _TOKEN_REFUSED:
            raise denied(
                place.host, place.repository, said(answer.body), with_login=login is not None
            )
        if answer.status != HTTPStatus.OK:
            raise failure(place.host, place.repository, answer, with_login=login is not None)
        token, lifetime_s = _read_token(place, answer)
        return Grant(
            {"Authorization": f"Bearer {token}"},
            expires_at_s=began_s + lifetime_s * _USED_SHARE,
            with_login=login is not None,
        )


def _checked_realm(place: Place, challenge: Challenge) -> str:
    """The token service's URL: encrypted, unless it is on this machine as the registry is."""
    realm = redirected(f"{place.base}/", challenge.parameters["realm"])
    parts = urlsplit(realm)
    if parts.scheme != "https" and not is_this_machine(parts.hostname or ""):
        raise AuthError(
            f"{place.host} wants its login sent unencrypted",
            cause=f"its token service is {parts.scheme}://{parts.netloc}",
        )
    return realm


def _read_token(place: Place, answer: Response) -> tuple[str, float]:
    try:
        read = msgspec.json.decode(answer.body, type=_Token)
    except (msgspec.DecodeError, UnicodeDecodeError):
        read = _Token()
    token = read.token or read.access_token
    if not token or not token.isascii() or not token.isprintable():
        raise NetworkError(f"the token service of {place.host} answers nonsense")
    return token, _DEFAULT_LIFETIME_S if read.expires_in is None else read.expires_in
