"""The fault matrix: whatever goes wrong, the right bytes or the right error, and nothing twice."""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from fileserver import Fault, FaultKind, FileServer, Framing, Ranges, Served
from transfers import RANGE_BYTES, Store, digested, sha256_of, some_bytes

from nimctl.core.errors import (
    AuthError,
    NetworkError,
    NimctlError,
    NotFoundError,
    VerificationError,
)
from nimctl.core.facts import File
from nimctl.store.transfer.state import transfer_id

DATA = some_bytes(10 * RANGE_BYTES + 1234)
SMALL = DATA[: RANGE_BYTES // 2]


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "nimctl")


def small(url: str) -> tuple[File, bytes]:
    return digested("small", url, SMALL), SMALL


def ranged(url: str) -> tuple[File, bytes]:
    return digested("ranged", url, DATA), DATA


def of_unknown_size(url: str) -> tuple[File, bytes]:
    return File(path="stream", url=url, digests={"sha256": sha256_of(DATA)}), DATA


def undigested(url: str) -> tuple[File, bytes]:
    return File(path="undigested", url=url, size=len(DATA)), DATA


Shape = Callable[[str], tuple[File, bytes]]
Place = Callable[[bytes], int]

SHAPES: tuple[Shape, ...] = (small, ranged, of_unknown_size, undigested)
PLACES: dict[str, Place] = {
    "first": lambda _: 0,
    "middle": lambda data: len(data) // 2,
    "last": lambda data: len(data) - 1,
}
KINDS: tuple[FaultKind, ...] = ("drop", "stall", "corrupt")
MATRIX = [
    pytest.param(shape, kind, place, id=f"{kind}-{name}-{shape.__name__}")
    for shape, kind, (name, place) in product(SHAPES, KINDS, PLACES.items())
    # Without a digest nobody can know that a byte is wrong.
    if not (shape is undigested and kind == "corrupt")
]


def stalling(kind: FaultKind) -> dict[str, Any]:
    """Where the server stalls, do not wait for long."""
    return {"stall_timeout_s": 0.4, "retries": 1} if kind == "stall" else {}


@pytest.mark.parametrize(("shape", "kind", "place"), MATRIX)
def test_a_fault_that_passes_is_survived_and_no_byte_comes_twice(
    server: FileServer, store: Store, shape: Shape, kind: FaultKind, place: Place
) -> None:
    file, data = shape(server.url("file"))
    server.put("file", Served(data, faults=[Fault(kind, at=place(data), times=1)]))

    [fetched] = store.fetch(file, **stalling(kind))

    assert store.read(fetched) == data
    assert fetched.size == len(data)
    assert server.body_bytes == len(data) * (2 if kind == "corrupt" else 1)
    assert fetched.bytes_fetched == server.body_bytes
    assert store.leftovers == []


@pytest.mark.parametrize(("shape", "kind", "place"), MATRIX)
def test_a_fault_that_stays_is_an_error_and_a_later_run_fetches_only_the_rest(
    server: FileServer, store: Store, shape: Shape, kind: FaultKind, place: Place
) -> None:
    file, data = shape(server.url("file"))
    server.put("file", Served(data, faults=[Fault(kind, at=place(data))]))

    expected = VerificationError if kind == "corrupt" else NetworkError
    with pytest.raises(expected) as caught:
        store.fetch(file, **stalling(kind))

    assert store.is_empty()
    assert file.path in caught.value.message
    assert caught.value.cause
    assert caught.value.hint
    if kind == "corrupt":
        assert sha256_of(data) in caught.value.cause
        assert store.leftovers == []
    had = store.saved_bytes(transfer_id(file))
    if shape is small or shape is of_unknown_size:
        assert had == (0 if kind == "corrupt" else place(data))

    server.heal("file")
    [fetched] = store.fetch(file)

    assert store.read(fetched) == data
    assert fetched.bytes_reused == had
    assert fetched.bytes_fetched == server.body_bytes == len(data) - had
    assert store.leftovers == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(server: FileServer, store: Store, status: int) -> None:
    fault = Fault("status", status=status, times=2, retry_after="0")
    url = server.put("file", Served(DATA, faults=[fault]))

    [fetched] = store.fetch(digested("file", url, DATA))

    assert store.read(fetched) == DATA
    assert server.body_bytes == len(DATA)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, NetworkError),
        (401, AuthError),
        (402, AuthError),
        (403, AuthError),
        (404, NotFoundError),
        (410, NotFoundError),
        (451, AuthError),
        (500, NetworkError),
        (503, NetworkError),
    ],
)
def test_an_answer_that_stays_an_error_is_named_with_its_status(
    server: FileServer, store: Store, status: int, error: type[NimctlError]
) -> None:
    url = server.put("file", Served(DATA, faults=[Fault("status", status=status)]))

    with pytest.raises(error) as caught:
        store.fetch(digested("model.bin", url, DATA))

    assert "model.bin" in caught.value.message
    assert str(status) in (caught.value.cause or "")
    assert store.is_empty()
    assert store.leftovers == []


def test_a_server_that_asks_for_too_long_a_pause_is_left_alone(
    server: FileServer, store: Store
) -> None:
    fault = Fault("status", status=429, retry_after="86400")
    url = server.put("file", Served(DATA, faults=[fault]))

    with pytest.raises(NetworkError, match="no time") as caught:
        store.fetch(digested("file", url, DATA))

    assert "86400" in (caught.value.cause or "")
    assert len(server.requests) == 1


@pytest.mark.parametrize("ranges", ["ignored", "wrong", "unsatisfiable"])
@pytest.mark.parametrize("shape", [ranged, undigested])
def test_a_server_that_cannot_do_ranges_is_read_in_one_stream(
    server: FileServer, store: Store, shape: Shape, ranges: Ranges
) -> None:
    file, data = shape(server.url("file"))
    server.put("file", Served(data, ranges=ranges))

    [fetched] = store.fetch(file)

    assert store.read(fetched) == data
    assert len(server.requests) == 2
    assert "range" not in server.requests[-1].headers


@pytest.mark.parametrize("ranges", ["ignored", "wrong", "unsatisfiable"])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_stream_without_ranges_begins_anew_after_a_cut(
    server: FileServer, store: Store, ranges: Ranges, place: Place
) -> None:
    fault = Fault("drop", at=place(DATA), times=2)
    url = server.put("file", Served(DATA, ranges=ranges, faults=[fault]))

    [fetched] = store.fetch(digested("file", url, DATA))

    assert store.read(fetched) == DATA


def test_a_stream_without_ranges_that_is_always_cut_is_given_up(
    server: FileServer, store: Store
) -> None:
    fault = Fault("drop", at=len(DATA) // 2)
    url = server.put("file", Served(DATA, ranges="ignored", faults=[fault]))

    with pytest.raises(NetworkError, match="does not go on"):
        store.fetch(digested("file", url, DATA))


def test_patience_lasts_while_there_is_progress(server: FileServer, store: Store) -> None:
    faults = [Fault("drop", at=at, times=1) for at in range(1000, len(SMALL), 1000)]
    assert len(faults) > 3 * store.options.retries
    url = server.put("file", Served(SMALL, faults=faults))

    [fetched] = store.fetch(digested("file", url, SMALL))

    assert store.read(fetched) == SMALL
    assert server.body_bytes == len(SMALL)


@pytest.mark.parametrize("framing", ["chunked", "until-close"])
@pytest.mark.parametrize("shape", SHAPES)
def test_content_whose_length_is_not_announced_is_read_to_its_end(
    server: FileServer, store: Store, shape: Shape, framing: Framing
) -> None:
    file, data = shape(server.url("file"))
    server.put("file", Served(data, framing=framing))

    [fetched] = store.fetch(file)

    assert store.read(fetched) == data
    assert server.body_bytes == len(data)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("shape", [small, of_unknown_size])
def test_a_cut_is_noticed_in_chunked_content(
    server: FileServer, store: Store, shape: Shape, place: Place
) -> None:
    file, data = shape(server.url("file"))
    fault = Fault("drop", at=place(data), times=1)
    server.put("file", Served(data, framing="chunked", faults=[fault]))

    [fetched] = store.fetch(file)

    assert store.read(fetched) == data
    assert server.body_bytes == len(data)


@pytest.mark.parametrize("framing", ["length", "chunked", "until-close"])
@pytest.mark.parametrize("extra", [-1, 1])
def test_content_of_another_size_than_promised_is_refused(
    server: FileServer, store: Store, framing: Framing, extra: int
) -> None:
    promised = len(SMALL) + extra
    url = server.put("file", Served(SMALL, framing=framing))
    file = File(path="file", url=url, size=promised, digests={"sha256": sha256_of(SMALL)})

    # Where nothing says how long the content is, its end may also have been cut off.
    is_cut = framing != "length" and extra == 1
    with pytest.raises(NetworkError if is_cut else VerificationError):
        store.fetch(file)

    assert store.is_empty()


@pytest.mark.parametrize("framing", ["length", "chunked", "until-close"])
def test_content_that_goes_on_behind_its_size_is_refused_without_a_digest_too(
    server: FileServer, store: Store, framing: Framing
) -> None:
    url = server.put("file", Served(SMALL, framing=framing))
    with pytest.raises(VerificationError):
        store.fetch(File(path="file", url=url, size=len(SMALL) - 1))
    assert store.is_empty()


def test_a_shorter_file_than_promised_is_refused_in_parallel_too(
    server: FileServer, store: Store
) -> None:
    url = server.put("file", Served(DATA[:-1]))

    with pytest.raises(VerificationError) as caught:
        store.fetch(digested("file", url, DATA))

    assert str(len(DATA)) in (caught.value.cause or "")
    assert str(len(DATA) - 1) in (caught.value.cause or "")


def test_content_that_was_recoded_on_the_way_is_refused(server: FileServer, store: Store) -> None:
    url = server.put("file", Served(SMALL, encoding="gzip"))

    with pytest.raises(NetworkError) as caught:
        store.fetch(digested("file", url, SMALL))

    assert "gzip" in (caught.value.cause or "")
    assert [one.headers["accept-encoding"] for one in server.requests] == ["identity"]


@pytest.mark.parametrize(
    ("name", "coding"), [("m.tar.gz", "x-gzip"), ("M.TGZ", "gzip"), ("m.tar.zst", "zstd")]
)
def test_a_coding_that_only_says_what_the_file_is_does_not_matter(
    server: FileServer, store: Store, name: str, coding: str
) -> None:
    url = server.put(name, Served(DATA, encoding=coding))
    [fetched] = store.fetch(digested(name, url, DATA))
    assert store.read(fetched) == DATA
    with pytest.raises(NetworkError, match="does not come as it is"):
        store.fetch(digested(f"{name}.json", url, SMALL))


NEW = some_bytes(len(DATA), seed=1)
NEWER = some_bytes(len(DATA), seed=2)


MONDAY, TUESDAY = "Mon, 01 Jan 2024 00:00:00 GMT", "Tue, 02 Jan 2024 00:00:00 GMT"


@pytest.mark.parametrize("size", [len(DATA), None])
@pytest.mark.parametrize(
    ("tags", "dates"), [(('"1"', '"2"'), (MONDAY, MONDAY)), ((None, None), (MONDAY, TUESDAY))]
)
def test_content_that_changes_midway_is_never_mixed(
    server: FileServer,
    store: Store,
    size: int | None,
    tags: tuple[str | None, str | None],
    dates: tuple[str, str],
) -> None:
    new = Served(NEW, tags[1], dates[1])
    cut = Fault("drop", at=len(DATA) // 2, times=1)
    old = Served(DATA, tags[0], dates[0], faults=[cut], becomes=(4 if size else 1, new))
    url = server.put("file", old)

    [fetched] = store.fetch(File(path="file", url=url, size=size))

    assert store.read(fetched) == NEW


def test_content_that_keeps_changing_is_given_up(server: FileServer, store: Store) -> None:
    newer = Served(NEWER, etag='"3"')
    new = Served(NEW, etag='"2"', becomes=(2, newer))
    url = server.put("file", Served(DATA, becomes=(2, new)))

    with pytest.raises(NetworkError, match="changes"):
        store.fetch(File(path="file", url=url, size=len(DATA)), connections=1)


def test_mirrors_with_validators_of_their_own_do_not_matter_when_the_digest_is_known(
    server: FileServer, store: Store
) -> None:
    third = Served(DATA, etag='"3"')
    second = Served(DATA, etag='"2"', becomes=(2, third))
    url = server.put("file", Served(DATA, becomes=(2, second)))

    [fetched] = store.fetch(digested("file", url, DATA), connections=1)

    assert store.read(fetched) == DATA


def test_a_slow_range_is_shared_with_a_connection_that_has_nothing_else_to_do(
    server: FileServer, store: Store
) -> None:
    mib = 2**20
    data = some_bytes(16 * mib)
    url = server.put("file", Served(data, bytes_per_s=2 * mib, slow_range=(8 * mib, 8 * mib + 1)))

    [fetched] = store.fetch(digested("file", url, data), range_bytes=8 * mib, connections=2)

    assert store.read(fetched) == data
    begun = sorted(asked.range[0] for asked in server.requests if asked.range)
    assert begun[:2] == [0, 8 * mib]
    assert len(begun) == 3
