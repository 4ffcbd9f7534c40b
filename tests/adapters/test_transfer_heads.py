"""The heads of answers: the same as `http.client` makes of them, where that is sensible."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimctl.store.transfer.heads import QuickResponse, parse_fields

NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)


@contextmanager
def answered(data: bytes, method: str = "GET") -> Iterator[QuickResponse]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        response = QuickResponse(ours, method=method)
        try:
            response.begin()
            yield response
        finally:
            response.close()


HEADS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200\r\ncontent-length:5\r\nX: a:b\r\n\r\nhello",
    b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    b"HTTP/1.0 200 OK\r\n\r\nhello",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 206 Partial\r\nConnection: Close\r\nContent-Length: 5\r\n\r\nhello",
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n"
        b"5\r\nhello\r\n0\r\n\r\n"
    ),
    b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 204 None\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nA: one\r\nA: two\r\n\r\nhello",
    b"HTTP/1.1 302 Found\r\nLocation: /caf\xe9\r\nContent-Length: 0\r\n\r\n",
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("data", HEADS)
def test_a_head_means_what_it_means_to_the_standard_library(data: bytes, method: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, answered(data, method) as quick:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        standard = http.client.HTTPResponse(ours, method=method)
        standard.begin()
        for what in ("status", "reason", "version", "length", "chunked", "will_close"):
            assert getattr(quick, what) == getattr(standard, what), what
        for name in standard.headers:
            assert quick.headers.get(name.lower()) == standard.headers.get(name)
        assert quick.read() == standard.read()
        standard.close()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nName : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 65536 + b"\r\n\r\n",
    ],
)
def test_a_malformed_head_is_refused(data: bytes) -> None:
    with pytest.raises(http.client.HTTPException), answered(data):
        pass


def test_a_line_may_go_on() -> None:
    assert parse_fields([b"A: one\r\n", b" two\r\n", b"B: c\r\n"]) == {"a": "one two", "b": "c"}


@given(st.dictionaries(NAMES, VALUES, max_size=8))
def test_what_is_written_is_read(fields: dict[str, str]) -> None:
    lines = [f"{name.title()}:  {value} \r\n".encode() for name, value in fields.items()]
    assert parse_fields(lines) == fields
