"""A mirror in directories, on a web server or on a disk of this machine."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from nimctl.core.checksums import read_checksums
from nimctl.core.errors import NotFoundError, VerificationError
from nimctl.core.facts import Artifact, File
from nimctl.core.mirrors import CHECKSUMS, DEFAULT_REVISIONS, source_of_url, tree_path
from nimctl.core.names import safe_path, safe_paths
from nimctl.core.ports import Location
from nimctl.core.refs import ModelRef, Scheme
from nimctl.core.selection import selected
from nimctl.http import Client
from nimctl.registries.web import described, stated_size

_AT_ONCE = 8


class TreeMirror:
    """The files of one scheme's models under `base`, an `https://` or `file://` URL."""

    def __init__(self, scheme: Scheme, base: str, client: Callable[[], Client]) -> None:
        self._scheme = scheme
        self._base = base.rstrip("/")
        is_local = self._base.startswith("file:")
        self._place: _Disk | _Web = _Disk() if is_local else _Web(client())

    def resolve(self, ref: ModelRef) -> Artifact:
        """Read a revision's list of files; without a revision, of `main` or `latest`.

        Raises:
            NotFoundError: The mirror has no such list, or a file of it is missing.
            AuthError: The server wants (other) credentials, which come from the netrc file.
            NetworkError: It cannot be reached, or answers nonsense.
            VerificationError: The list is malformed, or a name leads out of the mirror.
        """
        revision = safe_path(ref.revision or DEFAULT_REVISIONS[self._scheme])
        listed = self._listed(ref, revision)
        chosen = selected(ref, listed)
        safe_paths(one.path for one in chosen)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            files = tuple(pool.map(self._file, chosen))
        return Artifact(reference=str(ref), revision=revision, files=files)

    def locate(self, file: File) -> Location:
        """Say where a file is; those that a lock has from the registry are found here too."""
        source = source_of_url(self._scheme, file.url)
        if source is None:
            return Location(url=file.url)
        return Location(url=self._url(source.model, source.revision, source.path))

    def _listed(self, ref: ModelRef, revision: str) -> Iterator["_Listed"]:
        url = self._url(ref.path, revision, CHECKSUMS)
        body = self._place.read(url)
        if body is None:
            raise NotFoundError(
                f"{ref} is not in the mirror {self._base}",
                cause=f"{url} does not exist",
                hint=None if ref.revision else f"name a revision instead of {revision}",
            )
        stated = read_checksums(body)
        if stated is None:
            raise VerificationError(
                f"{url} is no list of digests", hint="make it with sha256sum, see docs/how-to"
            )
        for path, sha256 in stated.items():
            if path != CHECKSUMS:
                yield _Listed(path, sha256, self._url(ref.path, revision, path))

    def _url(self, model: str, revision: str, path: str) -> str:
        return f"{self._base}/{tree_path(self._scheme, model, revision, path)}"

    def _file(self, listed: "_Listed") -> File:
        return File(
            path=listed.path,
            url=listed.url,
            size=self._place.size(listed.url),
            digests={"sha256": listed.sha256},
        )


class _Listed(NamedTuple):
    path: str
    sha256: str
    url: str


class _Web:
    def __init__(self, client: Client) -> None:
        self._client = client

    def read(self, url: str) -> bytes | None:
        try:
            return self._client.get(url).raise_for_status().body
        except NotFoundError:
            return None

    def size(self, url: str) -> int | None:
        return stated_size(described(self._client, url))


class _Disk:
    def read(self, url: str) -> bytes | None:
        try:
            return _path(url).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def size(self, url: str) -> int:
        try:
            return _path(url).stat().st_size
        except OSError as error:
            raise NotFoundError(f"{_path(url)} cannot be read", cause=error.strerror) from error


def _path(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))
