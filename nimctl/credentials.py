"""Tokens that `nimctl login` keeps: one file that only its owner can read."""

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


class Login(Value):
    """A user name and password of one registry host."""

    username: str
    password: str

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Login(username={self.username!r})"


class Credentials(Value):
    """Tokens of Hugging Face and NGC, and logins by registry host."""

    schema_version: int = 1
    hf: str | None = None
    ngc: str | None = None
    registries: dict[str, Login] = {}

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"Credentials({', '.join(self.names())})"

    def names(self) -> list[str]:
        """What there are credentials for."""
        known = [name for name in ("hf", "ngc") if getattr(self, name)]
        return [*known, *sorted(self.registries)]

    def having(self, name: str, username: str | None, secret: str) -> Self:
        """With one entry added or replaced; `name` is hf, ngc or a registry's host."""
        if name in ("hf", "ngc"):
            return msgspec.structs.replace(self, **{name: secret})
        login = Login(username=username or "", password=secret)
        return msgspec.structs.replace(self, registries={**self.registries, name: login})

    def without(self, name: str) -> Self:
        """With one entry removed."""
        if name in ("hf", "ngc"):
            return msgspec.structs.replace(self, **{name: None})
        left = {host: login for host, login in self.registries.items() if host != name}
        return msgspec.structs.replace(self, registries=left)


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
