"""Repositories and their URLs. Pure."""

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from nimctl.core.http import is_this_machine, origin
from nimctl.core.refs import ModelRef

# https://pkg.go.dev/github.com/distribution/reference: how Docker reads these names.
_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
_DOCKER_HUB_API = "registry-1.docker.io"
_BLOB_PATH = re.compile(r"/v2/(.+)/blobs/[^/]+")


class Place(NamedTuple):
    """A repository: `base` is the registry's URL, `host` its name for people and credentials."""

    base: str
    host: str
    repository: str

    @property
    def is_encrypted(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.base.startswith("https:")

    @property
    def encrypted(self) -> "Place":
        """The same over TLS."""
        return self._replace(base=self.base.replace("http:", "https:", 1))

    def url(self, kind: str, name: str) -> str:
        """The URL of a manifest, a blob, an upload or a list."""
        return f"{self.base}/v2/{self.repository}/{kind}/{name}"

    def scopes(self, actions: str, *, also_pull: str | None = None) -> tuple[str, ...]:
        """The scopes of a token for `actions` here; `also_pull` names another repository."""
        other = (f"repository:{also_pull}:pull",) if also_pull else ()
        return (f"repository:{self.repository}:{actions}", *other)


def place_of(ref: ModelRef) -> Place:
    """The repository that an oci:// reference names; plain HTTP is for this machine only.

    Raises:
        NetworkError: The reference has no valid host.
    """
    authority, _, repository = ref.path.partition("/")
    if authority in _DOCKER_HUB:
        is_official = "/" not in repository
        name = f"library/{repository}" if is_official else repository
        return Place(f"https://{_DOCKER_HUB_API}", "docker.io", name)
    plain = Place(f"http://{authority}", authority, repository)
    return plain if is_this_machine(origin(plain.base).host) else plain.encrypted


def place_of_blob(url: str) -> Place | None:
    """The repository that a blob's URL belongs to; None if it is no such URL."""
    parts = urlsplit(url)
    path = _BLOB_PATH.fullmatch(parts.path)
    if not path:
        return None
    origin(url)
    host = "docker.io" if parts.netloc == _DOCKER_HUB_API else parts.netloc
    return Place(f"{parts.scheme}://{parts.netloc}", host, path[1])
