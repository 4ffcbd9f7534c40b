"""Where a version's files are just now: presigned URLs, each handed out once."""

import threading
from functools import partial

from nimctl.core.errors import NetworkError
from nimctl.core.http import is_this_machine, origin, redacted
from nimctl.core.ports import Location
from nimctl.registries.ngc.api import Api
from nimctl.registries.ngc.endpoints import Release
from nimctl.registries.ngc.listing import REFUSED_LISTS
from nimctl.registries.ngc.wire import FilesPage


class Locations:
    """Hands out where files are; what was handed out before is taken to have expired.

    One request brings the URLs of all files, so the first thread that finds one used up renews
    them for all.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._presigned: dict[Release, dict[str, str]] = {}
        self._unlisted: set[Release] = set()
        self._redirecting: dict[tuple[Release, str], Location] = {}

    def next(self, release: Release, path: str) -> Location:
        """Where a file is.

        Raises:
            AuthError: NGC refuses access.
            NetworkError: The API cannot be reached, or names an address that is not encrypted.
        """
        with self._lock:
            url = self._take(release, path)
            return Location(url=url) if url else self._redirect(release, path)

    def _take(self, release: Release, path: str) -> str | None:
        url = self._presigned.get(release, {}).pop(path, None)
        if url is None and release not in self._unlisted:
            self._presigned[release] = self._ask(release)
            url = self._presigned[release].pop(path, None)
        return self._checked(url) if url else None

    def _ask(self, release: Release) -> dict[str, str]:
        """All URLs; versions of storage V1 have theirs in the list of files."""
        api = self._api
        for url_of in (partial(api.at.presigned, release), partial(api.at.files, release)):
            first = api.ask(url_of(), release)
            if first.status in REFUSED_LISTS:
                continue
            found: dict[str, str] = {}
            for page in api.pages(first, url_of, release, FilesPage):
                found.update(page.presigned)
            if found:
                return found
        self._unlisted.add(release)
        return {}

    def _redirect(self, release: Release, path: str) -> Location:
        """The API's own URL of a file, which redirects to a presigned one."""
        session, key = self._api.session, (release, path)
        url = self._api.at.file(release, path)
        location = Location(url=url, headers=session.headers(release.model))
        if location == self._redirecting.get(key) and session.renew(
            release.model, location.headers
        ):
            location = Location(url=url, headers=session.headers(release.model))
        self._redirecting[key] = location
        return location

    def _checked(self, url: str) -> str:
        """Refuse what leads out of HTTP, or out of encryption."""
        target, api = origin(url), origin(self._api.url)
        is_local = is_this_machine(target.host) and is_this_machine(api.host)
        if target.scheme != "https" and not is_local:
            raise NetworkError(
                f"{api.host} names an unencrypted address", cause=f"it is {redacted(url)}"
            )
        return url
