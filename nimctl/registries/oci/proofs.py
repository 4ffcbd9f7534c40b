"""What a token service is shown: a password, an identity token, or nothing."""

import base64
from collections.abc import Mapping
from typing import NamedTuple, Protocol
from urllib.parse import urlencode

from nimctl.http import Client, Response

_ACCEPT = {"Accept": "application/json"}
_CLIENT_ID = "nimctl"


class TokenRequest(NamedTuple):
    """A token that is wanted: `realm` is the checked URL of the token service."""

    realm: str
    service: str | None
    scopes: tuple[str, ...]

    @property
    def url(self) -> str:
        """https://distribution.github.io/distribution/spec/auth/token/#requesting-a-token."""
        query = [("service", self.service)] if self.service else []
        query += [("scope", scope) for scope in self.scopes]
        joint = "&" if "?" in self.realm else "?"
        return f"{self.realm}{joint}{urlencode(query, safe=':/,')}"


class Proof(Protocol):
    """Who asks for a token; `basic` is an Authorization header for a registry without tokens."""

    @property
    def basic(self) -> str | None:
        """The value of an Authorization header; None if there can be none."""
        ...

    def ask(self, client: Client, wanted: TokenRequest) -> Response:
        """Ask the token service; the answer has any status.

        Raises:
            AuthError: There is nothing to ask it with.
            NetworkError: It cannot be reached.
        """
        ...


class Nobody:
    """Whoever has no login: many registries give tokens for what is public."""

    @property
    def basic(self) -> None:
        """None."""
        return None

    def ask(self, client: Client, wanted: TokenRequest) -> Response:
        """Ask without a credential."""
        return client.get(wanted.url, _ACCEPT)


class Login(NamedTuple):
    """A user name and a password; its text form hides the latter."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Login(username={self.username!r})"

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        pair = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return f"Basic {pair}"

    def ask(self, client: Client, wanted: TokenRequest) -> Response:
        """Ask with the password."""
        return client.get(wanted.url, {**_ACCEPT, "Authorization": self.basic})


class IdentityToken(NamedTuple):
    """What `docker login` keeps in place of a password; its text form hides it."""

    token: str

    def __repr__(self) -> str:
        return "IdentityToken()"

    @property
    def basic(self) -> None:
        """None: it is for token services only."""
        return None

    def ask(self, client: Client, wanted: TokenRequest) -> Response:
        """Exchange it: https://distribution.github.io/distribution/spec/auth/oauth/."""
        form: Mapping[str, str] = {
            "grant_type": "refresh_token",
            "service": wanted.service or "",
            "client_id": _CLIENT_ID,
            "scope": " ".join(wanted.scopes),
            "refresh_token": self.token,
        }
        return client.post_form(wanted.realm, form, _ACCEPT)
