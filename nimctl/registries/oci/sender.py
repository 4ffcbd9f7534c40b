"""Requests that change a repository, with what the registry wants to see."""

from collections.abc import Iterable, Mapping
from functools import partial

import msgspec

from nimctl import __version__
from nimctl.core.closing import Closing
from nimctl.core.errors import NimctlError
from nimctl.core.http import HttpOptions, origin
from nimctl.http import Response, library_client
from nimctl.registries.oci.auth import Authorizer, Scopes
from nimctl.registries.oci.failures import failure
from nimctl.registries.oci.places import Place

# Some registries answer only after they have copied the blob to its final place.
_COMMIT_TIMEOUT_S = 600.0


class Sender(Closing):
    """Sends requests about one repository; credentials go to its registry only."""

    def __init__(
        self, place: Place, scopes: Scopes, authorizer: Authorizer, http: HttpOptions
    ) -> None:
        self._place = place
        self._scopes = scopes
        self._authorizer = authorizer
        self._patient = library_client(http)
        timeout_s = max(http.read_timeout_s, _COMMIT_TIMEOUT_S)
        once = msgspec.structs.replace(http, attempts=1, read_timeout_s=timeout_s)
        self._once = library_client(once)

    def close(self) -> None:
        """Close its connections."""
        self._patient.close()
        self._once.close()

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | Iterable[bytes] = b"",
        *,
        is_repeatable: bool = True,
    ) -> Response:
        """Send a request, and send it again if it is repeatable and failed for a passing reason.

        `content` is read from its start each time.

        Raises:
            AuthError: There are no credentials.
            NetworkError: There is no answer.
        """
        send = partial(self._request, method, url, content=content, is_repeatable=is_repeatable)
        if origin(url) != origin(self._place.base):
            return send(headers or {})
        grant = self._authorizer.known(self._place, self._scopes)
        sent = {**(headers or {}), **grant.headers}
        answer = send(sent)
        if not self._authorizer.accept(self._place, answer):
            return answer
        new = self._authorizer.grant(self._place, self._scopes, refused=grant.headers)
        return answer if new.headers == grant.headers else send({**sent, **new.headers})

    def failure(self, answer: Response) -> NimctlError:
        """The error that an answer means which is not the one expected."""
        with_login = self._authorizer.has_login(self._place, self._scopes)
        return failure(self._place.host, self._place.repository, answer, with_login=with_login)

    def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        content: bytes | Iterable[bytes],
        is_repeatable: bool,
    ) -> Response:
        client = self._patient if is_repeatable else self._once
        fixed = {"User-Agent": f"nimctl/{__version__}", "Accept-Encoding": "identity"}
        answer = client.request(method, url, headers={**fixed, **headers}, content=content)
        return Response(
            url=str(answer.url),
            status=answer.status_code,
            headers={name.lower(): value for name, value in answer.headers.items()},
            body=answer.content,
        )
