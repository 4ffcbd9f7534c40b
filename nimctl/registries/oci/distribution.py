"""The distribution API, as far as pulling needs it: manifests and tags.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#endpoints
"""

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus

import msgspec

from nimctl.core.errors import NetworkError, NimctlError, NotFoundError
from nimctl.core.http import origin, redirected
from nimctl.core.names import near
from nimctl.core.refs import ModelRef
from nimctl.http import Client, Response
from nimctl.registries.oci.auth import Authorizer
from nimctl.registries.oci.failures import failure, said
from nimctl.registries.oci.manifests import ACCEPTED, Manifest, checked_body, choose, decode
from nimctl.registries.oci.places import Place
from nimctl.registries.oci.reaching import reach

_TAGS_A_PAGE = 1000
_MOST_PAGES = 20
_FEW_TAGS = 20
_NEXT = re.compile(r'<([^>]+)>\s*;[^,]*\brel="?next"?')


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


class Distribution:
    """Reads repositories; `architecture` in Go's terms chooses among an index's manifests."""

    def __init__(self, client: Client, authorizer: Authorizer, architecture: str) -> None:
        self._client = client
        self._authorizer = authorizer
        self._architecture = architecture

    def reach(self, ref: ModelRef) -> Place:
        """The repository that a reference names, where its registry answers.

        Raises:
            NetworkError: It cannot be reached.
        """
        return reach(self._client, ref)

    def manifest(self, place: Place, reference: str, *, shown: str) -> tuple[str, Manifest]:
        """The digest that a reference stands for, and the manifest; `shown` is the model's name.

        Of an index, one manifest is chosen; the digest is the index's then.

        Raises:
            NotFoundError: There is no such repository, tag or manifest.
            AuthError: The registry wants (other) credentials.
            NetworkError: It cannot be reached or answers nonsense.
            VerificationError: The manifest is malformed, or not what its digest says.
            UnsupportedModelError: Nothing of an index is for this machine.
        """
        digest, manifest = self.fetch(place, reference, shown)
        if manifest.manifests is not None:
            chosen = f"sha256:{choose(manifest, self._architecture).sha256}"
            _, manifest = self.fetch(place, chosen, shown)
            if manifest.layers is None:
                raise NetworkError(f"{shown} is an index of indexes")
        return digest, manifest

    def fetch(self, place: Place, reference: str, shown: str) -> tuple[str, Manifest]:
        """The digest and the content of what a reference names, a manifest or an index.

        Raises:
            NimctlError: As for `manifest`.
        """
        answer = self._get(place, place.url("manifests", reference), ", ".join(ACCEPTED))
        if answer.status == HTTPStatus.NOT_FOUND:
            raise self._not_found(place, reference, said(answer.body), shown)
        self._check(place, answer)
        asked = reference if ":" in reference else None
        named = answer.headers.get("docker-content-digest")
        digest = checked_body(answer.body, named=named, asked=asked)
        return digest, decode(answer.body)

    def small_blob(self, place: Place, digest: str) -> bytes:
        """A blob that is read at once, such as an image's configuration.

        Raises:
            NimctlError: As for `manifest`.
        """
        answer = self._get(place, place.url("blobs", digest), "*/*")
        self._check(place, answer)
        checked_body(answer.body, named=None, asked=digest)
        return answer.body

    def _get(self, place: Place, url: str, accept: str) -> Response:
        scopes = place.scopes("pull")
        grant = self._authorizer.known(place, scopes)
        answer = self._client.get(url, {"Accept": accept, **grant.headers})
        if not self._authorizer.accept(place, answer):
            return answer
        new = self._authorizer.grant(place, scopes, refused=grant.headers)
        if new.headers == grant.headers:
            return answer
        return self._client.get(url, {"Accept": accept, **new.headers})

    def _check(self, place: Place, answer: Response) -> None:
        if answer.status != HTTPStatus.OK:
            raise self._failure(place, answer)

    def _failure(self, place: Place, answer: Response) -> NimctlError:
        with_login = self._authorizer.has_login(place, place.scopes("pull"))
        return failure(place.host, place.repository, answer, with_login=with_login)

    def _not_found(
        self, place: Place, reference: str, words: str | None, shown: str
    ) -> NotFoundError:
        try:
            tags = sorted(tag for page in self._tag_pages(place) for tag in page)
        except NimctlError:
            tags = []  # the list only helps; that the manifest is missing is certain
        if not tags:
            return NotFoundError(f"{shown} does not exist", cause=words, hint="check the name")
        name = shown.removesuffix(f"@{reference}").removesuffix(f":{reference}")
        some = near(reference, tags) or "there is " + ", ".join(tags[-_FEW_TAGS:])
        return NotFoundError(
            f"{name} has no {'manifest' if ':' in reference else 'tag'} {reference}",
            cause=some if words is None else f"{words}; {some}",
            hint=f"nimctl pull {name}:{'latest' if 'latest' in tags else tags[-1]}",
        )

    def _tag_pages(self, place: Place) -> Iterator[list[str]]:
        url = place.url("tags", f"list?n={_TAGS_A_PAGE}")
        for _ in range(_MOST_PAGES):
            answer = self._get(place, url, "application/json")
            self._check(place, answer)
            try:
                yield msgspec.json.decode(answer.body, type=_Tags).tags or []
            except msgspec.DecodeError as error:
                raise NetworkError(f"{place.host} answers nonsense for its tags") from error
            following = _next_page(url, answer.headers)
            if following is None:
                return
            url = following


def _next_page(url: str, headers: Mapping[str, str]) -> str | None:
    """The URL of the next page (RFC 8288), which has to be the same server's."""
    link = _NEXT.search(headers.get("link", ""))
    if not link:
        return None
    following = redirected(url, link[1])
    return following if origin(following) == origin(url) else None
