"""Tokens that `nimctl login` keeps: one file that only its owner can read."""

import base64
import os
import secrets
import stat
from pathlib import Path
from typing import Self

import msgspec

from nimctl import documents
from nimctl.core.errors import UsageError
from nimctl.core.value import Value

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Auth(Value):
    """A user name and password, joined and encoded as Docker's config.json has them."""

    auth: str

    def __repr__(self) -> str:
        """Without the secret."""
        return "Auth()"


class Credentials(Value):
    """Tokens of Hugging Face and NGC, and logins by registry host.

    `auths` has the form of Docker's config.json, so that what reads that reads this file too.
    `keyring` maps what is kept in the system's keyring instead to user names.
    """

    schema_version: int = 1
    hf: str | None = None
    ngc: str | None = None
    auths: dict[str, Auth] = {}
    keyring: dict[str, str] = {}

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"Credentials({', '.join(self.names())})"

    def names(self) -> list[str]:
        """What there are credentials for."""
        known = [name for name in ("hf", "ngc") if getattr(self, name)]
        return [*known, *sorted({*self.auths, *self.keyring})]

    def having(self, name: str, username: str | None, secret: str) -> Self:
        """With one entry added or replaced; `name` is hf, ngc or a registry's host."""
        others = self.without(name)
        if name in ("hf", "ngc"):
            return msgspec.structs.replace(others, **{name: secret})
        pair = base64.b64encode(f"{username or ''}:{secret}".encode()).decode()
        return msgspec.structs.replace(others, auths={**others.auths, name: Auth(auth=pair)})

    def having_in_keyring(self, name: str, username: str | None) -> Self:
        """With one entry that says that the secret is in the keyring."""
        others = self.without(name)
        return msgspec.structs.replace(others, keyring={**others.keyring, name: username or ""})

    def without(self, name: str) -> Self:
        """With one entry removed."""
        token: dict[str, None] = {name: None} if name in ("hf", "ngc") else {}
        return msgspec.structs.replace(
            self,
            auths={host: auth for host, auth in self.auths.items() if host != name},
            keyring={one: user for one, user in self.keyring.items() if one != name},
            **token,
        )


def load(path: Path) -> Credentials:
    """Read the file; without one there are none.

    Raises:
        UsageError: Others could read it.
        VerificationError: It is no such file.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return Credentials()
    if mode & _OTHERS:
        raise UsageError(f"others can read {path}", hint=f"chmod 600 {path}")
    return documents.read(path, Credentials) or Credentials()


def save(path: Path, credentials: Credentials) -> None:
    """Write the file, readable by its owner only from the first moment."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(credentials))
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
