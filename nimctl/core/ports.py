"""The outside world as nimctl wishes it were; adapters obey these protocols."""

from typing import Protocol

from nimctl.core.facts import Artifact, File
from nimctl.core.refs import ModelRef
from nimctl.core.value import Value


class Location(Value):
    """Where a file's bytes can be had right now, with what the request must carry.

    `url` may be short-lived (presigned). `headers` are for the origin of `url` only: they never
    follow a redirect to another one, and are never logged.
    """

    url: str
    headers: dict[str, str] = {}


class Fetched(Value):
    """One file that a transfer brought into the blob store; sizes in bytes.

    `bytes_reused` were there already: from the blob store, or from an earlier unfinished transfer.
    """

    path: str
    sha256: str
    size: int
    bytes_fetched: int
    bytes_reused: int


class Registry(Protocol):
    """Where artifacts come from."""

    def resolve(self, ref: ModelRef) -> Artifact:
        """Pin a reference to one revision and list its files.

        Raises:
            NotFoundError: There is no such model, revision or file.
            AuthError: The registry wants (other) credentials, or a licence accepted.
            NetworkError: It cannot be reached.
        """
        ...

    def locate(self, file: File) -> Location:
        """Say where a file's bytes are now; called again when that location has expired."""
        ...
