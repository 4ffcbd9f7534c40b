"""Logins that `docker login`, `podman login` and their credential helpers keep.

https://docs.docker.com/reference/cli/docker/login/#configure-the-credential-store and
https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
"""

import base64
import binascii
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from nimctl.core.errors import AuthError, UsageError
from nimctl.registries.oci.proofs import IdentityToken, Login

_HUB = "docker.io"
# The name under which Docker keeps its own registry's login.
_HUB_SERVER = "https://index.docker.io/v1/"
_HUB_NAMES = ("index.docker.io", "registry-1.docker.io")
_HELPER_TIMEOUT_S = 60
# What a helper gives as the user name when the secret is no password but an identity token.
_TOKEN_USER = "<token>"  # noqa: S105 - a marker, no secret

Kept: TypeAlias = Login | IdentityToken


class _Entry(msgspec.Struct, frozen=True):
    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""


class _File(msgspec.Struct, frozen=True, rename={"helpers": "credHelpers", "store": "credsStore"}):
    auths: dict[str, _Entry] = {}
    helpers: dict[str, str] = {}
    store: str = ""


class _Secret(msgspec.Struct, rename="pascal"):
    username: str
    secret: str


class DockerCredentials:
    """Reads `files` each time that a login is asked for; the first file that has one counts.

    `helper_path` is where `docker-credential-*` programs are looked for, as in PATH; None for PATH.
    """

    def __init__(self, files: Sequence[Path] = (), *, helper_path: str | None = None) -> None:
        self._files = tuple(files)
        self._helper_path = helper_path

    def login(self, host: str, repository: str) -> Kept | None:
        """The login for a repository; None when there is none.

        Raises:
            UsageError: A file is malformed.
            AuthError: A helper fails.
        """
        for path in self._files:
            file = _read(path)
            found = file and self._look_up(file, path, host, repository)
            if found:
                return found
        return None

    def _look_up(self, file: _File, path: Path, host: str, repository: str) -> Kept | None:
        helpers = {_normalised(name): helper for name, helper in file.helpers.items()}
        entries = {_normalised(name): entry for name, entry in file.auths.items()}
        if file.store:
            helpers.setdefault(_normalised(host), file.store)
        for key in _keys(host, repository):
            found = self._ask(helpers[key], host) if key in helpers else None
            if found is None and key in entries:
                found = _login(entries[key], path, host)
            if found:
                return found
        return None

    def _ask(self, helper: str, host: str) -> Kept | None:
        """Run a helper: https://github.com/docker/docker-credential-helpers#development."""
        program = shutil.which(f"docker-credential-{helper}", path=self._helper_path)
        if program is None:
            # A configuration copied from a desktop names a helper that servers do not have.
            return None
        server = _HUB_SERVER if host == _HUB else host
        try:
            done = subprocess.run(
                [program, "get"],
                input=server.encode(),
                capture_output=True,
                timeout=_HELPER_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise AuthError(f"{program} cannot be run", cause=str(error)) from error
        if done.returncode:
            _check_nothing_found(program, done.stdout)
            return None
        try:
            secret = msgspec.json.decode(done.stdout, type=_Secret)
        except msgspec.DecodeError as error:
            raise AuthError(f"{program} answers nonsense", hint=f"docker login {host}") from error
        if secret.username == _TOKEN_USER:
            return IdentityToken(secret.secret)
        return Login(secret.username, secret.secret)


def _read(path: Path) -> _File | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read", cause=error.strerror) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is malformed", cause=str(error)) from error


def _keys(host: str, repository: str) -> Iterator[str]:
    """What a login may be kept under, the most specific name first."""
    parts = [_normalised(host), *repository.split("/")]
    while parts:
        yield "/".join(parts)
        parts.pop()


def _normalised(name: str) -> str:
    """The name without scheme and API version, which Docker writes for some registries."""
    bare = name.removeprefix("https://").removeprefix("http://").rstrip("/")
    bare = bare.removesuffix("/v1").removesuffix("/v2")
    return _HUB if bare in _HUB_NAMES else bare


def _login(entry: _Entry, path: Path, host: str) -> Kept | None:
    if entry.identitytoken:
        return IdentityToken(entry.identitytoken)
    if entry.username and entry.password:
        return Login(entry.username, entry.password)
    if not entry.auth:
        return None  # Docker leaves an empty entry where a store has the login
    try:
        username, colon, password = base64.b64decode(entry.auth).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise UsageError(f"{path} has a malformed login for {host}", hint=f"docker login {host}")
    return Login(username, password.rstrip("\0"))


def _check_nothing_found(program: str, output: bytes) -> None:
    """Tell "there is none" from a failure, by the words that all helpers share."""
    words = output.decode(errors="replace").strip()
    if "credentials not found" not in words and "no credentials" not in words:
        raise AuthError(f"{program} fails", cause=words.partition("\n")[0] or None)
