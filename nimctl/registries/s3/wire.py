"""The XML of the S3 API, as far as nimctl reads it. Pure."""

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

# https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html; other stores leave the
# namespace out.
_ANY = "{*}"


class Listed(NamedTuple):
    """An object of a list; `algorithms` are those of checksums that are kept of it."""

    key: str
    size: int
    etag: str | None
    algorithms: frozenset[str]


class Listing(NamedTuple):
    """A page of a list; `next_page` is None on the last."""

    objects: tuple[Listed, ...]
    next_page: str | None


class Problem(NamedTuple):
    """Why a request failed, in the store's words."""

    code: str
    message: str


def read_listing(body: bytes) -> Listing | None:
    """A page of a list; None if it is none."""
    root = _parsed(body, "ListBucketResult")
    if root is None:
        return None
    is_escaped = _text(root, "EncodingType") == "url"
    try:
        objects = tuple(_objects(root, is_escaped=is_escaped))
    except ValueError:
        return None  # a size that is no number
    is_last = _text(root, "IsTruncated") != "true"
    return Listing(objects, None if is_last else _text(root, "NextContinuationToken"))


def read_problem(body: bytes) -> Problem | None:
    """What an error says; None if it says nothing that can be shown."""
    root = _parsed(body, "Error")
    if root is None:
        return None
    problem = Problem(_text(root, "Code") or "", _text(root, "Message") or "")
    return problem if problem.code and all(text.isprintable() for text in problem) else None


def _objects(root: ET.Element, *, is_escaped: bool) -> Iterator[Listed]:
    for entry in root.findall(f"{_ANY}Contents"):
        key = _text(entry, "Key") or ""
        yield Listed(
            key=unquote_plus(key) if is_escaped else key,
            size=int(_text(entry, "Size") or ""),
            etag=_text(entry, "ETag"),
            algorithms=frozenset(
                one.text or "" for one in entry.findall(f"{_ANY}ChecksumAlgorithm")
            ),
        )


def _parsed(body: bytes, tag: str) -> ET.Element | None:
    try:
        # The client limits its length, and expat since 2.4.1 what entities may grow to.
        root = ET.fromstring(body)  # noqa: S314
    except ET.ParseError:
        return None
    return root if root.tag.rpartition("}")[2] == tag else None


def _text(element: ET.Element, tag: str) -> str | None:
    return element.findtext(f"{_ANY}{tag}")
