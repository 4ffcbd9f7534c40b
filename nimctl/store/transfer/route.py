"""Where one file's bytes are had: the registry's location, and where that redirected to."""

import threading
from collections.abc import Callable

from nimctl.core.facts import File
from nimctl.core.http import redacted
from nimctl.core.ports import Location
from nimctl.store.transfer.answers import (
    Ask,
    Beyond,
    Body,
    Busy,
    Expired,
    Moved,
    Recoded,
    Refused,
    Unranged,
)
from nimctl.store.transfer.client import Client, Content
from nimctl.store.transfer.failures import TemporaryError, recoded, refused

_MOST_RELOCATIONS = 2

Locate = Callable[[File], Location]


class Route:
    """Shared by the workers of one file; renews a location that has expired."""

    def __init__(self, file: File, locate: Locate) -> None:
        self._file = file
        self._locate = locate
        self._lock = threading.Lock()
        self._location: Location | None = None
        self._behind_cache: Location | None = None
        self._redirected: str | None = None
        self._answered = 0

    @property
    def shown(self) -> str:
        """The present URL without its secrets."""
        return redacted(self._location.url if self._location else self._file.url)

    @property
    def location(self) -> Location:
        """The registry's location, asked for when it is first needed; in a cache if it is there."""
        with self._lock:
            if self._location is None:
                self._location = self._locate(self._file)
                if self._location.cached:
                    self._behind_cache = self._location
                    self._location = Location(url=self._location.cached)
            return self._location

    @property
    def is_cached(self) -> bool:
        """Whether the location is in a cache, whose files nobody changes."""
        return self._behind_cache is not None

    def distrust_cache(self) -> bool:
        """Leave a cache whose bytes are wrong; returns whether there is another place."""
        with self._lock:
            if self._behind_cache is None:
                return False
            self._location, self._behind_cache = self._behind_cache, None
            return True

    def get(self, client: Client, ask: Ask) -> tuple[Content, Body | Unranged | Beyond]:
        """Ask for bytes, with a renewed location if need be; the caller closes the response.

        Raises:
            TemporaryError: It may work later.
            AuthError: Access is refused, also with a new location.
            NotFoundError: The file is not there, also with a new location.
            NetworkError: The server answers something else that trying again does not change.
        """
        relocations, answered = 0, self._answered
        while True:
            location, redirected_to = self.location, self._redirected
            tried = redirected_to or location.url
            url, response, answer = client.get(location, tried, ask)
            if isinstance(answer, Recoded) and answer.names_file_itself(self._file.path):
                answer = answer.bare
            if isinstance(answer, Body | Unranged | Beyond):
                self._remember(location, url)
                return response, answer
            response.discard()
            match answer:
                case Busy(cause, after_s):
                    raise TemporaryError(cause, after_s=after_s)
                case Recoded(coding):
                    raise recoded(self._file.path, redacted(url), coding)
                case Refused(status):
                    raise refused(self._file.path, redacted(url), status)
                case Expired(status):
                    if self._answered != answered:
                        # Others got through: what was refused had been good, maybe only once.
                        relocations, answered = 0, self._answered
                    is_last = relocations == _MOST_RELOCATIONS
                    relocations += self._renew(
                        location, redirected_to, url, status, is_last=is_last
                    )
                case Moved():
                    raise AssertionError("the client follows redirects")

    def _remember(self, location: Location, url: str) -> None:
        with self._lock:
            self._answered += 1
            if location is self._location:
                self._redirected = url if url != location.url else None

    def _renew(
        self, tried: Location, redirected_to: str | None, url: str, status: int, *, is_last: bool
    ) -> bool:
        """Forget the old redirect, or else ask the registry again; give up if that is no use.

        Returns whether the registry was asked.
        """
        with self._lock:
            if tried is not self._location:
                return False  # another worker was faster
            if redirected_to is not None:
                if self._redirected == redirected_to:
                    self._redirected = None
                return False
            new = self._locate(self._file)
            # The same location may still redirect elsewhere now.
            is_no_use = new == tried and url == tried.url
            if is_no_use or is_last:
                raise refused(self._file.path, redacted(url), status)
            self._location = new
            return True
