"""What a server's answer means for what was asked. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from nimctl.core.http import retry_after_s

_CONTENT_RANGE = re.compile(r"bytes\s+(\d+)-(\d+)/(\d+|\*)", re.IGNORECASE)
_GZIP = (".gz", ".tgz")
_OWN_CODINGS = {"gzip": _GZIP, "x-gzip": _GZIP, "zstd": (".zst", ".tzst")}
_BUSY = frozenset(
    {408, 421, 425, 429, 500, 502, 503, 504, 507, 508, 509, 520, 521, 522, 523, 524, 529}
)


@dataclass(frozen=True, slots=True)
class Ask:
    """Bytes `start` to `end` (exclusive; None: to the end), as a Range request if `ranged`.

    With a `validator` the server is told to send the range only if the content is still that one.
    """

    start: int = 0
    end: int | None = None
    ranged: bool = False
    validator: str | None = None

    def headers(self) -> dict[str, str]:
        """The request headers that say so. Content codings would make ranges meaningless."""
        headers = {"Accept-Encoding": "identity"}
        if self.ranged:
            headers["Range"] = f"bytes={self.start}-{'' if self.end is None else self.end - 1}"
            if self.validator:
                headers["If-Range"] = self.validator
        return headers


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes from `start` on follow; `total` is the whole file's size, if told.

    `is_range` tells a 206, the exact range, from a 200, the whole file.
    """

    start: int
    total: int | None
    validator: str | None
    is_range: bool


@dataclass(frozen=True, slots=True)
class Moved:
    """A redirect to `location`, as the header has it."""

    location: str


@dataclass(frozen=True, slots=True)
class Busy:
    """Try again, after `after_s` seconds if given."""

    cause: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Expired:
    """Ask the registry for a location again, if it may give another."""

    status: int


@dataclass(frozen=True, slots=True)
class Refused:
    """No use in asking again."""

    status: int


@dataclass(frozen=True, slots=True)
class Unranged:
    """The server cannot be trusted with ranges: read the file in one stream."""

    cause: str


@dataclass(frozen=True, slots=True)
class Beyond:
    """The range lies outside the file: it is not the one that we have begun."""

    cause: str


@dataclass(frozen=True, slots=True)
class Recoded:
    """The content comes in a `coding` that was not asked for; without that, it would be `bare`."""

    coding: str
    bare: Body | Unranged

    def names_file_itself(self, path: str) -> bool:
        """Whether the coding only says what the file is anyway.

        Servers that go by names, and object stores by what was uploaded, call m.tar.gz a tar in
        gzip: the bytes are the file's, as https://httpd.apache.org/docs/2.4/mod/mod_mime.html and
        its `AddEncoding x-gzip .gz` have it.
        """
        return path.lower().endswith(_OWN_CODINGS.get(self.coding, ()))


Answer: TypeAlias = Body | Moved | Busy | Expired | Refused | Unranged | Beyond | Recoded


def read_answer(ask: Ask, status: int, headers: Mapping[str, str], now: datetime) -> Answer:
    """Say what an answer means; `headers` have lower-case names."""
    answer: Answer = Refused(status)
    match status:
        case 200:
            answer = _unless_recoded(headers, _read_whole(headers))
        case 206 if ask.ranged:
            answer = _unless_recoded(headers, _read_partial(ask, headers))
        case 301 | 302 | 303 | 307 | 308 if "location" in headers:
            answer = Moved(headers["location"])
        case 401 | 403 | 404 | 410:
            answer = Expired(status)
        case 416 if ask.ranged:
            answer = Beyond("HTTP 416")
        case _ if status in _BUSY:
            answer = Busy(f"HTTP {status}", retry_after_s(headers.get("retry-after"), now))
    return answer


def _unless_recoded(headers: Mapping[str, str], answer: Body | Unranged) -> Answer:
    coding = headers.get("content-encoding", "identity").strip().lower()
    return answer if coding in ("", "identity") else Recoded(coding, answer)


def _read_whole(headers: Mapping[str, str]) -> Body:
    total = _number(headers.get("content-length"))
    return Body(0, total, _validator(headers), is_range=False)


def _read_partial(ask: Ask, headers: Mapping[str, str]) -> Body | Unranged:
    value = headers.get("content-range", "")
    match = _CONTENT_RANGE.fullmatch(value.strip())
    if match is None:
        return Unranged(f"HTTP 206 with Content-Range `{value}`")
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    end = total if ask.end is None else ask.end
    length = _number(headers.get("content-length"))
    exact = first == ask.start and (end is None or last + 1 == end)
    if not exact or (length is not None and length != last + 1 - first):
        return Unranged(f"HTTP 206 with Content-Range `{value}` for bytes {ask.start} to {end}")
    return Body(first, total, _validator(headers), is_range=True)


def _validator(headers: Mapping[str, str]) -> str | None:
    """What If-Range takes (RFC 9110, 13.1.5): a strong ETag, else Last-Modified."""
    etag = headers.get("etag", "")
    if etag.startswith('"'):
        return etag
    return headers.get("last-modified")


def _number(value: str | None) -> int | None:
    return int(value) if value and value.isascii() and value.isdecimal() else None
