"""Debian's `docker-registry` as a real process on loopback, and a plain client to fill it.

The client is written against the distribution specification with the standard library only,
independently of the one that it tests.
"""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest
from ngc_site import Certificate

PROGRAM = "docker-registry"
USER, PASSWORD = "ada", "open sesame"
# bcrypt of the password at its lowest cost, made with crypt(3).
_HTPASSWD = f"{USER}:$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy\n"
_LISTENING = re.compile(r"listening on (?:127\.0\.0\.1|\[::1\]):(\d+)")
_START_TIMEOUT_S = 30
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Layer(NamedTuple):
    """A layer to push."""

    media_type: str
    data: bytes
    annotations: Mapping[str, str] | None = None


class RegistryDaemon:
    """The process; a context manager. `auth` is its configuration's `auth` section.

    With a `certificate`, it is spoken to over TLS. `address` is where it listens.
    """

    def __init__(
        self,
        directory: Path,
        *,
        auth: Mapping[str, Any] | None = None,
        certificate: Certificate | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self._directory = directory
        self._address = address
        files = {"certificate": certificate[0], "key": certificate[1]} if certificate else {}
        self._config = {
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": str(directory / "data")},
                "delete": {"enabled": True},
            },
            "http": {
                "addr": f"{address}:0",
                "secret": "only for tests",
                **({"tls": files} if files else {}),
            },
            **({"auth": auth} if auth else {}),
        }
        self.log = directory / "log"
        self.port = 0

    @classmethod
    def with_password(cls, directory: Path) -> Self:
        """One that wants USER and PASSWORD by Basic authentication."""
        path = directory / "htpasswd"
        path.write_text(_HTPASSWD)
        return cls(directory, auth={"htpasswd": {"realm": "tests", "path": str(path)}})

    @property
    def host(self) -> str:
        """Host and port, as in references."""
        return f"{self._address}:{self.port}"

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{self.host}"

    def requests(self, method: str) -> list[str]:
        """The targets of the requests of a method so far, from the access log."""
        return re.findall(rf'"{method} (\S+) HTTP', self.log.read_text())

    def __enter__(self) -> Self:
        program = shutil.which(PROGRAM)
        if program is None:
            pytest.skip(f"there is no {PROGRAM}: apt-get install docker-registry")
        config = self._directory / "config.yml"
        config.write_text(json.dumps(self._config))  # JSON is YAML
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [program, "serve", str(config)], stdout=log, stderr=subprocess.STDOUT
            )
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while not (listening := _LISTENING.search(self.log.read_text())):
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.__exit__()
                raise RuntimeError(self.log.read_text())
            time.sleep(0.01)
        self.port = int(listening[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


class Pusher:
    """Puts artifacts of any shape into an open registry or one with a password."""

    def __init__(self, daemon: RegistryDaemon, *, password: str | None = None) -> None:
        self._daemon = daemon
        self._headers = {}
        if password is not None:
            pair = base64.b64encode(f"{USER}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {pair}"

    def artifact(
        self,
        repository: str,
        layers: Sequence[Layer],
        *,
        tag: str = "latest",
        config: Layer | None = None,
        media_type: str = OCI_MANIFEST,
        artifact_type: str | None = None,
    ) -> str:
        """Push blobs and a manifest; returns its digest."""
        config = config or Layer("application/vnd.oci.empty.v1+json", b"{}")
        document = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": self.blob(repository, config),
            "layers": [self.blob(repository, layer) for layer in layers],
        }
        if artifact_type:
            document["artifactType"] = artifact_type
        return self.manifest(repository, tag, document)

    def blob(self, repository: str, layer: Layer) -> dict[str, Any]:
        """Push one blob; returns its descriptor."""
        digest = f"sha256:{hashlib.sha256(layer.data).hexdigest()}"
        start = f"{self._daemon.url}/v2/{repository}/blobs/uploads/"
        _, location = self._request("POST", start)
        self._request("PUT", f"{location}&digest={digest}", layer.data)
        descriptor = {
            "mediaType": layer.media_type,
            "digest": digest,
            "size": len(layer.data),
        }
        return descriptor | ({"annotations": dict(layer.annotations)} if layer.annotations else {})

    def manifest(self, repository: str, tag: str, document: Mapping[str, Any]) -> str:
        """Push a manifest or an index; returns its digest."""
        body = json.dumps(document).encode()
        url = f"{self._daemon.url}/v2/{repository}/manifests/{tag}"
        digest, _ = self._request("PUT", url, body, str(document["mediaType"]))
        return digest

    def _request(
        self, method: str, url: str, data: bytes = b"", content_type: str | None = None
    ) -> tuple[str, str]:
        named = {"Content-Type": content_type or "application/octet-stream", **self._headers}
        request = urllib.request.Request(url, data, named, method=method)
        with urllib.request.urlopen(request) as answer:
            headers = answer.headers
            return headers.get("Docker-Content-Digest", ""), headers.get("Location", "")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryDaemon]:
    directory = tmp_path / "registry"
    directory.mkdir()
    with RegistryDaemon(directory) as daemon:
        yield daemon
