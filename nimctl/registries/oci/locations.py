"""Where blobs are, with what the registry wants to see."""

import threading
from collections.abc import Mapping

from nimctl.core.facts import File
from nimctl.core.ports import Location
from nimctl.registries.oci.auth import Authorizer
from nimctl.registries.oci.places import place_of_blob


class BlobLocations:
    """Hands out locations; asked again for the same file, it renews a token that was refused."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer
        self._lock = threading.Lock()
        self._given: dict[str, Mapping[str, str]] = {}

    def locate(self, file: File) -> Location:
        """Say where a blob is.

        Raises:
            AuthError: There are no credentials, or they are refused.
            NetworkError: The registry cannot be reached or answers nonsense.
        """
        place = place_of_blob(file.url)
        if place is None:
            return Location(url=file.url)
        with self._lock:
            refused = self._given.get(file.url)
            grant = self._authorizer.grant(place, place.scopes("pull"), refused=refused)
            self._given[file.url] = grant.headers
        return Location(url=file.url, headers=dict(grant.headers))

    def locate_public(self, file: File) -> Location:
        """Say where a blob is that mostly nobody asks a token for, such as the first time."""
        place = place_of_blob(file.url)
        with self._lock:
            if place is not None and file.url not in self._given:
                grant = self._authorizer.known(place, place.scopes("pull"))
                self._given[file.url] = grant.headers
                return Location(url=file.url, headers=dict(grant.headers))
        return self.locate(file)
