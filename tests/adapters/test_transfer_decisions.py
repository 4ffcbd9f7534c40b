"""The pure parts of transfers: ranges, states, answers, URLs, retries, rates."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimctl.core.errors import NetworkError, UsageError
from nimctl.core.facts import File
from nimctl.core.http import Origin, origin, proxy_for, redacted, redirected, retry_after_s
from nimctl.store.transfer.answers import (
    Answer,
    Ask,
    Beyond,
    Body,
    Busy,
    Expired,
    Moved,
    Recoded,
    Refused,
    Unranged,
    read_answer,
)
from nimctl.store.transfer.failures import TemporaryError
from nimctl.store.transfer.options import TransferOptions
from nimctl.store.transfer.patience import Patience
from nimctl.store.transfer.proxies import proxy_address
from nimctl.store.transfer.ranges import Ledger, Mark, Piece, Range, is_consistent, plan
from nimctl.store.transfer.ranges import range_length as length_of
from nimctl.store.transfer.rate import TokenBucket
from nimctl.store.transfer.retry import backoff_s
from nimctl.store.transfer.state import State, decode, encode, transfer_id
from nimctl.store.transfer.urls import request_target

MIB = 2**20
NOW = datetime(2026, 1, 1, tzinfo=UTC)

SIZES = st.integers(0, 10_000)


@st.composite
def sizes_and_pieces(draw: st.DrawFn) -> tuple[int, tuple[Piece, ...]]:
    """A size, and consistent pieces of such a file."""
    size = draw(SIZES)
    cuts = sorted(draw(st.sets(st.integers(0, size), max_size=20)))
    pairs = list(zip(cuts[::2], cuts[1::2], strict=False))
    return size, tuple(Piece(start, end, draw(st.integers(0, 2**32 - 1))) for start, end in pairs)


@given(sizes_and_pieces(), st.none() | st.integers(1, 5000))
def test_a_plan_covers_the_file_once_and_keeps_what_is_there(
    case: tuple[int, tuple[Piece, ...]], length: int | None
) -> None:
    size, pieces = case
    ledger = plan(size, pieces, length)

    position = 0
    for one in ledger.ranges:
        assert one.start == position
        assert one.end is not None
        assert one.end > one.start
        position = one.end
    assert position == size
    assert ledger.pieces == pieces
    missing = [one for one in ledger.ranges if not one.is_complete]
    assert sum(one.remaining or 0 for one in missing) == size - ledger.done_bytes
    if length:
        assert all((one.remaining or 0) <= length for one in missing)


@given(sizes_and_pieces())
def test_a_file_of_unknown_size_ends_in_an_open_range(
    case: tuple[int, tuple[Piece, ...]],
) -> None:
    ledger = plan(None, case[1], None)
    assert ledger.ranges[-1].end is None
    assert not ledger.is_complete
    assert ledger.pieces == case[1]


@given(st.integers(1, 2**45), st.integers(1, 128 * MIB))
def test_ranges_are_not_smaller_than_asked_and_their_number_stays_small(
    size: int, smallest: int
) -> None:
    length = length_of(size, smallest)
    assert length >= smallest
    assert size / length <= max(512, size / (64 * MIB))


@given(sizes_and_pieces(), st.none() | st.text())
def test_a_state_survives_being_saved(
    case: tuple[int, tuple[Piece, ...]], validator: str | None
) -> None:
    state = State(size=case[0], validator=validator, pieces=case[1])
    assert decode(encode(state)) == state


@given(st.binary())
def test_a_damaged_state_is_no_state(data: bytes) -> None:
    assert decode(data) is None


@pytest.mark.parametrize(
    "damaged",
    [
        b'{"version":2,"size":10,"pieces":[]}',
        b'{"size":10,"pieces":[[0,11,0]]}',
        b'{"size":10,"pieces":[[4,8,0],[6,9,0]]}',
        b'{"size":10,"pieces":[[4,4,0]]}',
        b'{"size":10,"pieces":[[-1,4,0]]}',
        b'{"size":10,"pieces":[[0,4]]}',
        encode(State(size=10, pieces=(Piece(0, 4, 0),)))[:-1],
    ],
)
def test_a_state_that_cannot_be_true_is_no_state(damaged: bytes) -> None:
    assert decode(damaged) is None


@given(st.lists(st.tuples(st.integers(-5, 50), st.integers(-5, 50)), max_size=5))
def test_consistent_pieces_never_overlap(pairs: list[tuple[int, int]]) -> None:
    pieces = [Piece(start, end, 0) for start, end in pairs]
    covered = [byte for start, end in pairs for byte in range(start, end)]
    expected = (
        all(start < end for start, end in pairs)
        and covered == sorted(set(covered))
        and all(0 <= byte < 40 for byte in covered)
    )
    assert is_consistent(40, pieces) == expected


def taken(start: int, end: int, done: int, *, since: float = 0.0) -> Range:
    one = Range(start, end)
    one.take(since)
    one.mark = Mark(done, 0)
    return one


def test_half_of_the_slowest_range_is_shared() -> None:
    fast = taken(0, 16 * MIB, 12 * MIB)
    slow = taken(16 * MIB, 32 * MIB, 2 * MIB)
    ledger = Ledger([fast, slow])

    shared = ledger.share(now=2.0)

    assert shared
    assert (slow.end, shared.start, shared.end) == (25 * MIB, 25 * MIB, 32 * MIB)
    assert ledger.ranges == [fast, slow, shared]


@pytest.mark.parametrize(
    "one",
    [
        taken(0, 16 * MIB, 1 * MIB, since=1.5),
        taken(0, 16 * MIB, 15 * MIB),
        taken(0, 3 * MIB, 0),
        Range(0, 16 * MIB, Mark(16 * MIB, 0)),
    ],
    ids=["just begun", "nearly done", "too small", "complete"],
)
def test_a_range_is_not_shared_when_that_gains_nothing(one: Range) -> None:
    assert Ledger([one]).share(now=2.0) is None


def test_a_stalled_range_is_shared() -> None:
    stalled = taken(0, 16 * MIB, 0)
    assert stalled.seconds_left(2.0) == math.inf
    shared = Ledger([stalled]).share(now=2.0)
    assert shared
    assert shared.start == 8 * MIB


def test_a_transfer_is_called_by_its_digest_or_else_by_where_it_comes_from() -> None:
    sha256 = "ab" * 32
    one = File(path="a", url="https://one/a", size=1, digests={"sha256": sha256})
    assert transfer_id(one) == sha256

    plain = File(path="a", url="https://one/a", size=1, etag="x")
    others = [
        File(path="a", url="https://two/a", size=1, etag="x"),
        File(path="a", url="https://one/a", size=2, etag="x"),
        File(path="a", url="https://one/a", size=1, etag="y"),
        File(path="a", url="https://one/a", size=1, etag="x", digests={"git-sha1": "0" * 40}),
    ]
    assert len({transfer_id(file) for file in [plain, *others]}) == 5
    moved = File(path="b", url="https://one/a", size=1, etag="x")
    assert transfer_id(plain) == transfer_id(moved)

    by_blake3 = File(path="a", url="https://one/a", digests={"blake3": "1" * 64})
    mirrored = File(path="a", url="https://two/a", size=1, digests={"blake3": "1" * 64})
    another = File(path="a", url="https://one/a", digests={"blake3": "2" * 64})
    assert transfer_id(by_blake3) == transfer_id(mirrored) != transfer_id(another)


PART = Ask(10, 20, ranged=True)


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (206, {"content-range": "bytes 10-19/100"}, Body(10, 100, None, is_range=True)),
        (206, {"content-range": "bytes 10-19/*"}, Body(10, None, None, is_range=True)),
        (206, {"content-range": "bytes 10-18/100"}, Unranged),
        (206, {"content-range": "bytes 11-19/100"}, Unranged),
        (206, {"content-range": "bytes 10-19/100", "content-length": "9"}, Unranged),
        (206, {"content-range": "10-19/100"}, Unranged),
        (206, {}, Unranged),
        (200, {"content-length": "100"}, Body(0, 100, None, is_range=False)),
        (200, {}, Body(0, None, None, is_range=False)),
        (200, {"etag": '"a"'}, Body(0, None, '"a"', is_range=False)),
        (200, {"etag": 'W/"a"'}, Body(0, None, None, is_range=False)),
        (200, {"etag": 'W/"a"', "last-modified": "x"}, Body(0, None, "x", is_range=False)),
        (200, {"content-encoding": "gzip"}, Recoded),
        (206, {"content-range": "bytes 10-19/100", "content-encoding": "br"}, Recoded),
        (200, {"content-encoding": "identity"}, Body),
        (204, {}, Refused(204)),
        (302, {"location": "/b"}, Moved("/b")),
        (302, {}, Refused(302)),
        (304, {}, Refused(304)),
        (401, {}, Expired(401)),
        (403, {}, Expired(403)),
        (404, {}, Expired(404)),
        (410, {}, Expired(410)),
        (407, {}, Refused(407)),
        (412, {}, Refused(412)),
        (416, {}, Beyond),
        (429, {"retry-after": "7"}, Busy("HTTP 429", 7.0)),
        (500, {}, Busy("HTTP 500", None)),
        (501, {}, Refused(501)),
    ],
)
def test_an_answer_means(status: int, headers: dict[str, str], expected: Answer | type) -> None:
    answer = read_answer(PART, status, headers, NOW)
    assert isinstance(answer, expected) if isinstance(expected, type) else answer == expected


def test_a_part_that_nobody_asked_for_is_refused() -> None:
    headers = {"content-range": "bytes 0-9/10"}
    assert read_answer(Ask(), 206, headers, NOW) == Refused(206)
    assert read_answer(Ask(), 416, {}, NOW) == Refused(416)


def test_what_is_asked_for_stands_in_the_headers() -> None:
    assert Ask().headers() == {"Accept-Encoding": "identity"}
    assert Ask(5, None, ranged=True).headers()["Range"] == "bytes=5-"
    headers = Ask(5, 10, ranged=True, validator='"a"').headers()
    assert (headers["Range"], headers["If-Range"]) == ("bytes=5-9", '"a"')


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Thu, 01 Jan 2026 00:02:00 GMT", 120.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
        ("Thu, 01 Jan 2026 00:02:00 -0000", 120.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, expected: float | None) -> None:
    assert retry_after_s(value, NOW) == expected


@given(st.text())
def test_retry_after_never_fails(value: str) -> None:
    seconds = retry_after_s(value, NOW)
    assert seconds is None or seconds >= 0


@given(st.integers(1, 10_000))
def test_back_off_stays_below_its_limit(failures: int) -> None:
    ceiling = min(30, 0.5 * 2 ** min(failures - 1, 10))
    assert 0 <= backoff_s(failures, base_s=0.5, limit_s=30) <= ceiling


def test_patience_ends_after_failures_without_progress() -> None:
    waits: list[float] = []
    patience = Patience(TransferOptions(retries=2), waits.append)

    def fail(position: int, after_s: float | None = None) -> None:
        error = TemporaryError("cut", after_s=after_s)
        patience.bear(error, path="f", url="u", position=position)

    for position in (0, 0, 10, 10, 20, 15):
        fail(position)
    with pytest.raises(NetworkError) as caught:
        fail(20)
    assert caught.value.cause == "cut"
    assert len(waits) == 6


def test_patience_waits_as_long_as_the_server_asks() -> None:
    waits: list[float] = []
    patience = Patience(TransferOptions(backoff_s=0), waits.append)
    patience.bear(TemporaryError("busy", after_s=7.0), path="f", url="u", position=0)
    assert waits == [7.0]


def test_a_token_bucket_lets_through_its_rate_and_no_flood_after_a_pause() -> None:
    now = 0.0
    bucket = TokenBucket(1000, burst_s=0.1, clock=lambda: now)
    assert bucket.take(100) == 0
    assert bucket.take(100) == pytest.approx(0.1)
    assert bucket.take(100) == pytest.approx(0.2)
    now = 60.0
    assert bucket.take(100) == 0
    assert bucket.take(1000) == pytest.approx(1.0)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=50))
def test_a_token_bucket_never_exceeds_its_rate(portions: list[int]) -> None:
    now = 0.0
    bucket = TokenBucket(1000, burst_s=0.1, clock=lambda: now)
    for portion in portions:
        now += bucket.take(portion)
    assert sum(portions) <= 1000 * now + 100 + 1e-6


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/p", "https://h/p"),
        ("https://user:secret@h:8443/p#frag", "https://h:8443/p"),
        (
            "https://h/p?X-Amz-Signature=secret&X-Amz-Expires=60",
            "X-Amz-Signature=...&X-Amz-Expires=60",
        ),
        ("https://h/p?api_key=secret", "https://h/p?api_key=..."),
        ("https://h/p?secret", "https://h/p?..."),
        ("https://h/p?revision=main&token=secret", "https://h/p?revision=main&token=..."),
        ("https://secret@h/p?a=secret@b", "https://h/p?a=..."),
    ],
)
def test_secrets_in_urls_are_not_shown(url: str, shown: str) -> None:
    assert redacted(url).endswith(shown)
    assert "secret" not in redacted(url)


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("https://h/a/b", "c", "https://h/a/c"),
        ("https://h/a/b", "/c?x=1", "https://h/c?x=1"),
        ("https://h/a", "https://cdn/c", "https://cdn/c"),
        ("https://h/a", "//cdn/c", "https://cdn/c"),
        ("http://h/a", "https://h/a", "https://h/a"),
        ("http://h/a", "http://i/a", "http://i/a"),
    ],
)
def test_a_redirect_leads(url: str, location: str, target: str) -> None:
    assert redirected(url, location) == target


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://h/a", "http://h/a"),
        ("https://h/a", "file:///etc/passwd"),
        ("http://h/a", "file:///etc/passwd"),
        ("http://h/a", "ftp://h/a"),
        ("http://h/a", "http://[h/a"),
    ],
)
def test_a_redirect_out_of_encryption_or_http_is_refused(url: str, location: str) -> None:
    with pytest.raises(NetworkError):
        redirected(url, location)


def test_origins_differ_in_scheme_host_or_port() -> None:
    assert origin("https://H.example/x") == Origin("https", "h.example", 443)
    assert origin("http://h.example:8080/") == Origin("http", "h.example", 8080)
    for url in ("file:///x", "https:///x", "https://h:port/", "nonsense"):
        with pytest.raises(NetworkError):
            origin(url)


def test_a_request_target_is_escaped_once() -> None:
    assert request_target("https://h") == "/"
    assert request_target("https://h/a b/%20ü?x=%2F y") == "/a%20b/%20%C3%BC?x=%2F%20y"
    assert request_target("https://h/a\r\nHost: evil") == "/aHost:%20evil"


PROXIES = {"http": "http://p:3128", "https": "q:3129"}


@pytest.mark.parametrize(
    ("url", "no_proxy", "proxy"),
    [
        ("http://h/", "", "http://p:3128"),
        ("https://h/", "", "http://q:3129"),
        ("https://h/", "*", None),
        ("https://h/", "other,h", None),
        ("https://a.example.com/", "example.com", None),
        ("https://a.example.com/", ".example.com", None),
        ("https://a.example.com/", "*.example.com", None),
        ("https://badexample.com/", "example.com", "http://q:3129"),
        ("https://h:8443/", "h:8443", None),
        ("https://h/", "h:8443", "http://q:3129"),
        ("http://10.1.2.3/", "10.0.0.0/8", None),
        ("http://11.1.2.3/", "10.0.0.0/8", "http://p:3128"),
        ("http://h/", "10.0.0.0/8", "http://p:3128"),
        ("http://[::1]:80/", "::1", None),
        ("http://[::1]:81/", "[::1]", None),
    ],
)
def test_a_proxy_is_used_unless_no_proxy_names_the_host(
    url: str, no_proxy: str, proxy: str | None
) -> None:
    assert proxy_for(origin(url), {**PROXIES, "no": no_proxy}) == proxy
    assert proxy_for(origin(url), {}) is None


def test_only_http_proxies_are_understood() -> None:
    assert proxy_address("http://user:pw@p:3128") == ("p", 3128, "user:pw")
    with pytest.raises(UsageError):
        proxy_address("socks5://p:1080")
