"""One bucket: what is in it, and what a request for an object has to carry."""

import base64
import binascii
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import NamedTuple

from nimctl.core.aws import S3Site
from nimctl.core.http import origin
from nimctl.core.ports import Location
from nimctl.http import Client, Response
from nimctl.registries.s3.failures import nonsense, refusal
from nimctl.registries.s3.signing import escaped_path, escaped_query, signed_headers
from nimctl.registries.s3.wire import Listed, read_listing

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html: names that are a
# part of a host name. One with dots is covered by no certificate of Amazon's.
_HOST_PART = re.compile(r"[a-z0-9][a-z0-9-]*[a-z0-9]")
_ELSEWHERE = (HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN)
_REGION_HEADER = "x-amz-bucket-region"
_UNSEEN = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
_SHA256_BYTES = 32

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


class Described(NamedTuple):
    """An object: bytes, ETag, and the sha256 in hex if the store keeps one of the whole."""

    size: int | None
    etag: str | None
    sha256: str | None


class Bucket:
    """A bucket of a store; `now` gives the time in UTC, which signatures have in them.

    Raises:
        AuthError: The keys are wrong, or may not read it, from its methods but `location`.
        NotFoundError: There is no such bucket or object.
        NetworkError: The store cannot be reached, or answers nonsense.
    """

    def __init__(self, client: Client, name: str, site: S3Site, now: Clock = _now) -> None:
        self.name = name
        self._client = client
        self._site = site
        self._now = now
        self._region = site.region

    def list(self, prefix: str) -> Iterator[Listed]:
        """The objects whose keys begin so, sorted by key."""
        fields = {"list-type": "2", "encoding-type": "url", "prefix": prefix}
        while True:
            answer = self._ask("GET", f"{self._url('')}?{escaped_query(fields)}")
            if answer.status != HTTPStatus.OK:
                raise refusal(answer, f"s3://{self.name}/{prefix}", self._site)
            page = read_listing(answer.body)
            if page is None:
                raise nonsense(answer)
            yield from page.objects
            if page.next_page is None:
                return
            fields["continuation-token"] = page.next_page

    def read(self, key: str) -> bytes:
        """A small object."""
        answer = self._ask("GET", self._url(key))
        if answer.status != HTTPStatus.OK:
            raise refusal(answer, f"s3://{self.name}/{key}", self._site)
        return answer.body

    def describe(self, key: str) -> Described | None:
        """What is known of an object; None if there is none, or none for these keys."""
        answer = self._ask("HEAD", self._url(key), {"x-amz-checksum-mode": "ENABLED"})
        if answer.status in _UNSEEN:
            return None
        if answer.status != HTTPStatus.OK:
            raise refusal(answer, f"s3://{self.name}/{key}", self._site)
        length = answer.headers.get("content-length", "")
        return Described(
            size=int(length) if length.isdecimal() else None,
            etag=answer.headers.get("etag"),
            sha256=_sha256(answer.headers.get("x-amz-checksum-sha256", "")),
        )

    def location(self, key: str) -> Location:
        """Where an object is, with headers that open it for a quarter of an hour."""
        url = self._url(key)
        return Location(url=url, headers=self._headers("GET", url))

    def _url(self, key: str) -> str:
        path = escaped_path(key)
        if self._site.endpoint:
            return f"{self._site.endpoint}/{self.name}/{path}"
        domain = "amazonaws.com.cn" if self._region.startswith("cn-") else "amazonaws.com"
        host = f"s3.{self._region}.{domain}"
        if _HOST_PART.fullmatch(self.name):
            return f"https://{self.name}.{host}/{path}"
        return f"https://{host}/{self.name}/{path}"

    def _headers(
        self, method: str, url: str, headers: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        if self._site.key is None:
            # Without any header, the client would add what ~/.netrc has.
            return {"Accept": "*/*", **(headers or {})}
        return signed_headers(
            method, url, self._site.key, region=self._region, at=self._now(), headers=headers
        )

    def _ask(self, method: str, url: str, headers: Mapping[str, str] | None = None) -> Response:
        send = self._client.head if method == "HEAD" else self._client.get
        answer = send(url, self._headers(method, url, headers))
        home = answer.headers.get(_REGION_HEADER)
        if answer.status in _ELSEWHERE and home and home != self._region:
            self._region = home
            moved = self._moved(url)
            answer = send(moved, self._headers(method, moved, headers))
        return answer

    def _moved(self, url: str) -> str:
        """The same request to the region where the bucket is."""
        if self._site.endpoint:
            return url
        before, after = origin(url).authority, origin(self._url("")).authority
        return url.replace(f"//{before}/", f"//{after}/", 1)


class Buckets:
    """The buckets of one store, each with what was learnt of it."""

    def __init__(self, client: Client, site: S3Site, now: Clock = _now) -> None:
        self._client = client
        self._site = site
        self._now = now
        self._lock = threading.Lock()
        self._known: dict[str, Bucket] = {}

    def __getitem__(self, name: str) -> Bucket:
        with self._lock:
            if name not in self._known:
                self._known[name] = Bucket(self._client, name, self._site, self._now)
            return self._known[name]


def _sha256(checksum: str) -> str | None:
    """A checksum in hex, unless it is one of the checksums of parts, which ends in their number.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
    """
    try:
        digest = base64.b64decode(checksum, validate=True)
    except binascii.Error:
        return None
    return digest.hex() if len(digest) == _SHA256_BYTES else None
