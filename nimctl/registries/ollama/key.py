"""The key that Ollama makes for itself, which signs requests for tokens of private models.

https://github.com/ollama/ollama/blob/main/server/auth.go and auth/auth.go
"""

import base64
import hashlib
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

from nimctl.core.errors import AuthError
from nimctl.http import Client, Response
from nimctl.registries.oci.proofs import TokenRequest

_NONCE_BYTES = 16
# The base64 of the hex digits of the digest of an empty body.
_NO_BODY = base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode()

Clock = Callable[[], float]


class UnusableKeyError(AuthError):
    """The key cannot sign."""


class OllamaKey:
    """An OpenSSH private key, read when a registry wants a proof; `now` is Unix time in seconds."""

    def __init__(self, path: Path, *, now: Clock = time.time) -> None:
        self._path = path
        self._now = now

    @property
    def basic(self) -> None:
        """None: it signs requests for tokens only."""
        return None

    def login(self, host: str, repository: str) -> "OllamaKey | None":  # noqa: ARG002 - protocol's
        """The key, for every repository; None if there is none."""
        return self if self._path.is_file() else None

    def ask(self, client: Client, wanted: TokenRequest) -> Response:
        """Ask for a token with a signed request.

        Raises:
            UnusableKeyError: The key cannot sign.
            NetworkError: The token service cannot be reached.
        """
        nonce = base64.urlsafe_b64encode(secrets.token_bytes(_NONCE_BYTES)).decode().rstrip("=")
        query = [("nonce", nonce), *(("scope", scope) for scope in wanted.scopes)]
        query += [("service", wanted.service or ""), ("ts", str(int(self._now())))]
        # In Ollama's own order and spelling: the URL is signed as it is sent.
        url = f"{wanted.realm}{'&' if '?' in wanted.realm else '?'}{urlencode(query)}"
        public, signature = self._sign(f"GET,{url},{_NO_BODY}".encode())
        return client.get(url, {"Authorization": f"{public}:{signature}"})

    def _sign(self, message: bytes) -> tuple[str, str]:
        """The public key and the signature, in base64."""
        try:
            from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - an extra
            from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
                Ed25519PrivateKey,
            )
            from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
                Encoding,
                PublicFormat,
                load_ssh_private_key,
            )
        except ModuleNotFoundError as error:
            raise UnusableKeyError(
                "private models of Ollama need the extra `ollama`",
                cause="what signs for them is not installed",
                hint="pip install 'nimctl[ollama]'",
            ) from error
        try:
            key = load_ssh_private_key(self._path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise self._unusable("it is no private key of OpenSSH without a passphrase") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise self._unusable("it is not an Ed25519 key")
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        signature = base64.b64encode(key.sign(message)).decode()
        return public.decode().split(" ")[1], signature

    def _unusable(self, cause: str) -> UnusableKeyError:
        return UnusableKeyError(
            f"the key {self._path} cannot be used", cause=cause, hint="ollama signin"
        )
