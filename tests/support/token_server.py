"""A stand-in for a registry's token service: Bearer tokens that Docker's registry accepts.

RS256 tokens with the certificate in `x5c`, signed by the `openssl` program:
https://distribution.github.io/distribution/spec/auth/jwt/. They are given for passwords, for
identity tokens (https://distribution.github.io/distribution/spec/auth/oauth/), and for requests
that an Ed25519 key signed as https://github.com/ollama/ollama/blob/main/server/auth.go does.
"""

import base64
import hashlib
import json
import secrets
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from faulty_server import Handler, Seen, Server, Site

SERVICE, ISSUER = "tests", "token-server"


class TokenServer(Site):
    """The stand-in; a context manager that listens while it is open.

    `logins` maps users to passwords, `identities` identity tokens to users, `keys` public keys in
    OpenSSH's base64 to users; `readable` has the repositories that anybody may pull from.
    Tokens say that they live for `lifetime_s`; the next `stillborn` ones have expired when given.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        if not shutil.which("openssl"):
            pytest.skip("there is no openssl: apt-get install openssl")
        self.logins: dict[str, str] = {}
        self.identities: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.readable: set[str] = set()
        self.lifetime_s: int | None = 300
        self.stillborn = 0
        self._key, self._certificate = directory / "key.pem", directory / "certificate.pem"
        self._server = Server(self, _TokenHandler)

    @property
    def auth(self) -> dict[str, Any]:
        """The `auth` section for the registry's configuration."""
        return {
            "token": {
                "realm": f"{self._server.url}/token",
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(self._certificate),
            }
        }

    def __enter__(self) -> Self:
        make = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=tests",
        ]
        paths = ["-keyout", str(self._key), "-out", str(self._certificate)]
        subprocess.run([*make, *paths], check=True, capture_output=True)
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def token(self, subject: str, scopes: list[str]) -> str:
        """A signed token for what the subject may do."""
        expires = time.time() + 300
        if self.stillborn:
            self.stillborn -= 1
            expires = time.time() - 3600
        pem = self._certificate.read_text()
        header = {"typ": "JWT", "alg": "RS256", "x5c": ["".join(pem.splitlines()[1:-1])]}
        claims = {
            "iss": ISSUER,
            "sub": subject,
            "aud": SERVICE,
            "exp": int(expires),
            "nbf": int(time.time() - 7200),
            "iat": int(time.time() - 7200),
            "jti": secrets.token_hex(8),
            "access": [one for scope in scopes if (one := self._access(subject, scope))],
        }
        signed = f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(claims).encode())}"
        sign = ["openssl", "dgst", "-sha256", "-sign", str(self._key)]
        done = subprocess.run(sign, input=signed.encode(), capture_output=True, check=True)
        return f"{signed}.{_encoded(done.stdout)}"

    def _access(self, subject: str, scope: str) -> dict[str, Any] | None:
        kind, name, actions = scope.split(":")
        if subject:
            return {"type": kind, "name": name, "actions": actions.split(",")}
        return {"type": kind, "name": name, "actions": ["pull"]} if name in self.readable else None


class _TokenHandler(Handler[TokenServer]):
    name = "token"

    def answer_request(self) -> None:
        site = self.server.site
        query = parse_qs(urlsplit(self.path).query)
        subject = self._subject()
        if subject is None or query.get("service") != [SERVICE]:
            self.answer(401, {}, b'{"details":"incorrect username or password"}')
            return
        self._give("token", site.token(subject, query.get("scope", [])))

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        site = self.server.site
        body = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        site.seen.append(Seen(self.name, "POST", self.path, headers))
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        subject = site.identities.get(form.get("refresh_token", ""))
        wanted = (form.get("grant_type"), form.get("service"))
        if subject is None or wanted != ("refresh_token", SERVICE) or "client_id" not in form:
            self.answer(401, {}, b'{"details":"invalid refresh token"}')
            return
        self._give("access_token", site.token(subject, form.get("scope", "").split()))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _give(self, name: str, token: str) -> None:
        answer: dict[str, Any] = {name: token}
        if self.server.site.lifetime_s is not None:
            answer["expires_in"] = self.server.site.lifetime_s
        self.answer(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    def _subject(self) -> str | None:
        """The user; empty for nobody in particular, None for a wrong password."""
        scheme, _, pair = self.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return ""
        if scheme != "Basic":
            return self._signer(scheme)
        user, _, password = base64.b64decode(pair).decode().partition(":")
        return user if self.server.site.logins.get(user) == password else None

    def _signer(self, authorization: str) -> str | None:
        """The owner of the key that signed this request; None for a wrong signature."""
        public, _, signature = authorization.partition(":")
        no_body = base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode()
        signed = f"GET,{self.server.url}{self.path},{no_body}"
        key = load_ssh_public_key(f"ssh-ed25519 {public}".encode())
        assert isinstance(key, Ed25519PublicKey)
        try:
            key.verify(base64.b64decode(signature), signed.encode())
        except InvalidSignature:
            return None
        return self.server.site.keys.get(public)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
