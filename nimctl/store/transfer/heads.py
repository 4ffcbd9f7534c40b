"""The heads of answers, read without the `email` package, which takes longer than a small file."""

import http.client
from collections.abc import Iterable
from typing import BinaryIO, cast

_MOST_LINE_BYTES = 65536
_MOST_LINES = 100
_CONTINUE = 100
_NO_BODY = (204, 304)


class QuickResponse(http.client.HTTPResponse):
    """An answer whose `headers` are a dict with names in lower case.

    What the head means is decided as the base class does.
    """

    def begin(self) -> None:
        """Read the head, and those of interim answers before it.

        Raises:
            HTTPException: It is malformed.
        """
        fields: dict[str, str] = {}
        status = _CONTINUE
        while status == _CONTINUE:
            version, status, reason = self._read_status()  # type: ignore[attr-defined]
            fields = parse_fields(_field_lines(self.fp))
        if not version.startswith("HTTP/"):
            raise http.client.UnknownProtocol(version)
        self.code = self.status = status
        self.reason = reason.strip()
        self.version = 10 if version in ("HTTP/1.0", "HTTP/0.9") else 11
        self.headers = self.msg = cast("http.client.HTTPMessage", fields)
        self.chunked = fields.get("transfer-encoding", "").lower() == "chunked"
        self.chunk_left = None
        is_empty = status in _NO_BODY or self._method == "HEAD"  # type: ignore[attr-defined]
        self.length = 0 if is_empty else self._stated_length(fields)
        closes = self._check_close()  # type: ignore[attr-defined]
        self.will_close = closes or (not self.chunked and self.length is None)

    def _stated_length(self, fields: dict[str, str]) -> int | None:
        length = fields.get("content-length", "")
        return int(length) if length.isascii() and length.isdecimal() and not self.chunked else None


def parse_fields(lines: Iterable[bytes]) -> dict[str, str]:
    """Header fields by their names in lower case (RFC 9112, 5); of two with one name, the first.

    Raises:
        HTTPException: A line is none, or two of them state different lengths.
    """
    fields: dict[str, str] = {}
    last = ""
    for line in lines:
        text = line.decode("latin-1").rstrip("\r\n")
        name, colon, value = text.partition(":")
        if text[:1] in (" ", "\t") and last:  # obsolete: the line before goes on
            fields[last] = f"{fields[last]} {text.strip()}".strip()
            continue
        last = name.lower()
        if not colon or not name or name != name.strip():
            raise http.client.HTTPException(f"malformed header line {text[:80]!r}")
        known = fields.setdefault(last, value.strip())
        if last == "content-length" and known != value.strip():
            raise http.client.HTTPException("the answer states two lengths")
    return fields


def _field_lines(source: BinaryIO) -> list[bytes]:
    lines: list[bytes] = []
    while (line := source.readline(_MOST_LINE_BYTES + 1)) not in (b"\r\n", b"\n", b""):
        lines.append(line)
        if len(line) > _MOST_LINE_BYTES or len(lines) > _MOST_LINES:
            raise http.client.HTTPException("the answer's head is too long")
    return lines
