"""Fetching that goes well: every shape of file, events, peeking, local files."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fileserver import Fault, FileServer, Framing, Served
from transfers import (
    DIGEST_OF,
    QUICK,
    RANGE_BYTES,
    Store,
    at_its_url,
    digested,
    ignore,
    sha256_of,
    some_bytes,
)

from nimctl.core.errors import AuthError, NetworkError, NotFoundError, VerificationError
from nimctl.core.events import Event, Finished, Progressed, Started
from nimctl.core.facts import DigestAlgorithm, File
from nimctl.core.ports import Location
from nimctl.store.transfer import Transfer

DATA = some_bytes(10 * RANGE_BYTES + 1234)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "nimctl")


SIZES = [
    *(0, 1, 1000),
    *(RANGE_BYTES - 1, RANGE_BYTES, RANGE_BYTES + 1, 2 * RANGE_BYTES),
    len(DATA),
]


@pytest.mark.parametrize("is_size_known", [True, False])
@pytest.mark.parametrize(
    "algorithms",
    [(), ("sha256",), ("git-sha1",), ("blake3",), ("sha256", "git-sha1"), ("git-sha1", "blake3")],
)
@pytest.mark.parametrize("size", SIZES)
def test_every_size_arrives_with_every_kind_of_digest(
    server: FileServer,
    store: Store,
    size: int,
    algorithms: tuple[DigestAlgorithm, ...],
    is_size_known: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    data = DATA[:size]
    url = server.put("file", Served(data))
    file = File(
        path="file",
        url=url,
        size=size if is_size_known else None,
        digests={name: DIGEST_OF[name](data) for name in algorithms},
    )

    [fetched] = store.fetch(file)

    assert store.read(fetched) == data
    assert (fetched.path, fetched.sha256, fetched.size) == ("file", sha256_of(data), size)
    assert (fetched.bytes_fetched, fetched.bytes_reused) == (size, 0)
    assert store.leftovers == []


@pytest.mark.parametrize("size", [10, len(DATA)])
def test_the_etag_that_came_with_the_bytes_is_told(
    server: FileServer, store: Store, size: int
) -> None:
    data = DATA[:size]
    strong = File(path="a", url=server.put("a", Served(data, etag='"e71-3091"')), size=size)
    weak = File(path="b", url=server.put("b", Served(data, etag='W/"x"')), size=size)
    assert [store.fetch(file)[0].etag for file in (strong, weak)] == ["e71-3091", None]
    known = File(path="a", url=strong.url, size=size, digests={"sha256": sha256_of(data)})
    assert store.fetch(known)[0].etag is None  # the store has it


@pytest.mark.parametrize("algorithm", ["sha256", "git-sha1", "blake3"])
@pytest.mark.parametrize("size", [10, len(DATA)])
def test_a_wrong_digest_is_named_after_a_second_try(
    server: FileServer, store: Store, algorithm: DigestAlgorithm, size: int
) -> None:
    data = DATA[:size]
    url = server.put("file", Served(data))
    wrong = "0" * (40 if algorithm == "git-sha1" else 64)
    file = File(path="config.json", url=url, size=size, digests={algorithm: wrong})

    with pytest.raises(VerificationError) as caught:
        store.fetch(file)

    assert "config.json" in caught.value.message
    assert wrong in (caught.value.cause or "")
    assert DIGEST_OF[algorithm](data) in (caught.value.cause or "")
    assert server.body_bytes == 2 * size
    assert store.is_empty()
    assert store.leftovers == []


def test_a_blob_that_is_there_costs_no_request(server: FileServer, store: Store) -> None:
    url = server.put("file", Served(DATA))
    store.fetch(digested("file", url, DATA))
    server.requests.clear()

    events: list[Event] = []
    [fetched] = store.fetch(digested("other/name", url, DATA), emit=events.append)

    assert server.requests == []
    assert (fetched.bytes_fetched, fetched.bytes_reused) == (0, len(DATA))
    assert events == [
        Started(task="other/name", title="other/name", total=len(DATA)),
        Progressed(task="other/name", done=len(DATA)),
        Finished(task="other/name", note="reused"),
    ]


def test_files_with_the_same_content_are_fetched_once(server: FileServer, store: Store) -> None:
    url = server.put("file", Served(DATA))
    names = ["a", "b", "c"]

    fetched = store.fetch(*(digested(name, url, DATA) for name in names))

    assert [one.path for one in fetched] == names
    assert server.body_bytes == len(DATA)
    assert sum(one.bytes_fetched for one in fetched) == len(DATA)
    assert all(one.bytes_fetched + one.bytes_reused == len(DATA) for one in fetched)


def test_many_small_files_share_a_few_connections(server: FileServer, store: Store) -> None:
    contents = {f"dir/{number}": some_bytes(number * 7, seed=number) for number in range(200)}
    files = [digested(p, server.put(p, Served(data)), data) for p, data in contents.items()]
    events: list[Event] = []

    fetched = store.fetch(*files, emit=events.append)

    assert {one.path: store.read(one) for one in fetched} == contents
    assert server.connections <= QUICK.connections
    assert sum(isinstance(event, Finished) for event in events) == len(contents)
    assert store.leftovers == []


def test_nothing_to_fetch_is_nothing_to_do(store: Store) -> None:
    assert store.fetch() == ()


def test_progress_is_told_by_the_calling_thread_and_ends_at_the_size(
    server: FileServer, store: Store
) -> None:
    url = server.put("file", Served(DATA))
    events: list[Event] = []
    threads: set[threading.Thread] = set()

    def emit(event: Event) -> None:
        threads.add(threading.current_thread())
        events.append(event)

    store.fetch(digested("file", url, DATA), emit=emit)

    assert threads == {threading.current_thread()}
    assert events[0] == Started(task="file", title="file", total=len(DATA))
    assert events[-2:] == [
        Progressed(task="file", done=len(DATA)),
        Finished(task="file", note=None),
    ]
    done = [event.done for event in events if isinstance(event, Progressed)]
    assert done == sorted(done)


def test_ranges_are_shared_among_connections(server: FileServer, store: Store) -> None:
    url = server.put("file", Served(DATA))

    store.fetch(digested("file", url, DATA))

    begun = sorted(asked.range[0] for asked in server.requests if asked.range)
    assert begun == list(range(0, len(DATA), RANGE_BYTES))
    assert 1 < server.connections <= QUICK.connections
    assert {asked.headers.get("if-range") for asked in server.requests[1:]} == {'"1"'}


def test_a_rate_limit_spaces_out_what_is_read(server: FileServer, store: Store) -> None:
    url = server.put("file", Served(DATA))

    [fetched] = store.fetch(digested("file", url, DATA), max_rate=4 * len(DATA))

    assert store.read(fetched) == DATA


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_all_that_is_left_open_is_closed(server: FileServer, store: Store) -> None:
    url = server.put("file", Served(DATA))
    store.fetch(digested("file", url, DATA))
    before = open_descriptors()
    other = some_bytes(len(DATA), seed=9)
    server.put("file", Served(other, faults=[Fault("drop", at=1000)]))

    with pytest.raises(NetworkError):
        store.fetch(digested("file", url, other))

    deadline = time.monotonic() + 20
    while open_descriptors() > before:  # the server's threads close theirs in their own time
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_expired_location_is_renewed(server: FileServer, store: Store) -> None:
    base = server.put("file", Served(DATA, signature="1"))
    given: list[str] = []

    def locate(_: File) -> Location:
        given.append(str(len(given)))
        return Location(url=f"{base}?X-Amz-Signature={given[-1]}")

    [fetched] = store.fetch(digested("file", base, DATA), locate=locate)

    assert store.read(fetched) == DATA
    assert given == ["0", "1"]


def test_a_location_may_expire_again_and_again_between_the_ranges(
    server: FileServer, store: Store
) -> None:
    base = server.put("file", Served(DATA, signature="0", signature_lasts=2))
    lock = threading.Lock()
    given: list[str | None] = []

    def locate(_: File) -> Location:
        with lock:
            given.append(server.signature("file"))
            return Location(url=f"{base}?X-Amz-Signature={given[-1]}")

    [fetched] = store.fetch(digested("file", base, DATA), locate=locate)

    assert store.read(fetched) == DATA
    assert server.body_bytes == len(DATA)
    assert len(given) > 3


def test_a_location_that_stays_refused_is_given_up(server: FileServer, store: Store) -> None:
    base = server.put("file", Served(DATA, signature="right"))
    given: list[int] = []

    def locate(_: File) -> Location:
        given.append(len(given))
        return Location(url=f"{base}?X-Amz-Signature=wrong{len(given)}")

    with pytest.raises(AuthError) as caught:
        store.fetch(digested("file", base, DATA), locate=locate)

    assert len(given) <= 4
    assert "wrong" not in str(caught.value) + str(caught.value.cause)


def test_an_error_of_the_registry_comes_through(store: Store) -> None:
    def locate(file: File) -> Location:
        raise AuthError(f"no licence for {file.path}")

    with pytest.raises(AuthError, match="no licence for file"):
        store.fetch(digested("file", "https://unused.invalid/file", DATA), locate=locate)


def test_an_unreachable_server_is_named(store: Store) -> None:
    with FileServer() as server:
        url = server.url("file")
    with pytest.raises(NetworkError) as caught:
        store.fetch(digested("file", url, DATA), retries=1)
    assert url in caught.value.message
    assert "cannot connect" in (caught.value.cause or "")


# Local files.


def local(path: Path, data: bytes, size: int | None = None) -> File:
    path.write_bytes(data)
    return File(path=path.name, url=path.as_uri(), size=size)


@pytest.mark.parametrize("size", SIZES)
def test_a_local_file_is_copied_and_stays(tmp_path: Path, store: Store, size: int) -> None:
    source = tmp_path / "ä model %20.bin"
    file = local(source, DATA[:size], size)

    [fetched] = store.fetch(file)

    assert store.read(fetched) == source.read_bytes() == DATA[:size]
    assert fetched.sha256 == sha256_of(DATA[:size])
    assert not source.samefile(store.blobs.path(fetched.sha256))


@pytest.mark.parametrize("size", [0, 10, len(DATA)])
def test_a_file_of_another_tool_s_cache_is_linked(
    server: FileServer, tmp_path: Path, store: Store, size: int
) -> None:
    data = DATA[:size]
    cached = tmp_path / "cache" / "blob"
    cached.parent.mkdir()
    cached.write_bytes(data)
    (tmp_path / "named").symlink_to(cached)
    url = server.put("file", Served(data))

    def locate(file: File) -> Location:
        return Location(url=file.url, cached=(tmp_path / "named").as_uri())

    [fetched] = store.fetch(digested("file", url, data), locate=locate)

    assert server.requests == []
    assert (fetched.bytes_fetched, fetched.bytes_reused) == (0, size)
    assert store.leftovers == []
    blob = store.blobs.path(fetched.sha256)
    assert blob.read_bytes() == data
    # The same file, unless the file system could share its blocks between two.
    assert blob.samefile(cached) or blob.stat().st_blocks == cached.stat().st_blocks


@pytest.mark.parametrize("size", [10, len(DATA)])
def test_a_damaged_file_of_a_cache_is_fetched_and_the_cache_left_alone(
    server: FileServer, tmp_path: Path, store: Store, size: int
) -> None:
    data = DATA[:size]
    cached = tmp_path / "blob"
    damaged = data[:-1] + bytes([data[-1] ^ 1])
    cached.write_bytes(damaged)
    url = server.put("file", Served(data))

    def locate(file: File) -> Location:
        return Location(url=file.url, cached=cached.as_uri())

    [fetched] = store.fetch(digested("file", url, data), locate=locate)

    assert store.read(fetched) == data
    assert (fetched.bytes_fetched, fetched.bytes_reused) == (size, 0)
    assert cached.read_bytes() == damaged
    assert cached.stat().st_nlink == 1
    assert store.leftovers == []


def test_a_file_of_a_cache_on_another_file_system_is_copied(
    server: FileServer, small_disk: Path, store: Store
) -> None:
    cached = small_disk / "blob"
    cached.write_bytes(DATA)
    url = server.put("file", Served(DATA))

    def locate(file: File) -> Location:
        return Location(url=file.url, cached=cached.as_uri())

    [fetched] = store.fetch(digested("file", url, DATA), locate=locate)
    assert store.read(fetched) == DATA
    assert server.requests == []


def test_a_local_file_is_verified(tmp_path: Path, store: Store) -> None:
    (tmp_path / "model").write_bytes(DATA)
    promised = digested("model", (tmp_path / "model").as_uri(), DATA[:-1] + b"x")
    with pytest.raises(VerificationError):
        store.fetch(promised)
    assert store.is_empty()


def test_a_local_file_of_another_size_is_refused(tmp_path: Path, store: Store) -> None:
    with pytest.raises(VerificationError):
        store.fetch(local(tmp_path / "model", DATA, len(DATA) + 1))


@pytest.mark.parametrize("path", ["missing", ".", "pipe"])
def test_a_local_file_that_is_none_is_named(tmp_path: Path, store: Store, path: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    url = (tmp_path / path).as_uri()
    with pytest.raises(NotFoundError, match=str(tmp_path)):
        store.fetch(File(path="model", url=url, size=1))


# Peeking.


@pytest.fixture
def transfer(store: Store) -> Transfer:
    return Transfer(store.blobs, QUICK)


@pytest.mark.parametrize("framing", ["length", "chunked", "until-close"])
def test_a_small_file_is_read_without_being_stored(
    server: FileServer, store: Store, transfer: Transfer, framing: Framing
) -> None:
    data = b'{"architectures": []}'
    url = server.put("config.json", Served(data, framing=framing))
    assert transfer.peek(digested("config.json", url, data), at_its_url) == data
    assert store.is_empty()
    assert store.leftovers == []


def test_peeking_is_patient_and_verifies(server: FileServer, transfer: Transfer) -> None:
    data = some_bytes(1000)
    faults = [Fault("status", times=1), Fault("drop", at=500, times=1)]
    url = server.put("file", Served(data, faults=faults))
    assert transfer.peek(digested("file", url, data), at_its_url) == data

    with pytest.raises(VerificationError):
        transfer.peek(digested("file", url, data[::-1]), at_its_url)
    with pytest.raises(VerificationError):
        transfer.peek(File(path="file", url=url, size=999), at_its_url)


@pytest.mark.parametrize("size", [None, len(DATA)])
def test_peeking_stops_at_its_limit(
    server: FileServer, transfer: Transfer, size: int | None
) -> None:
    url = server.put("file", Served(DATA))
    with pytest.raises(VerificationError, match="1000 bytes"):
        transfer.peek(File(path="file", url=url, size=size), at_its_url, limit_bytes=1000)
    exact = server.put("exact", Served(DATA[:1000]))
    got = transfer.peek(File(path="exact", url=exact), at_its_url, limit_bytes=1000)
    assert got == DATA[:1000]


def test_peeking_at_a_blob_costs_no_request(
    server: FileServer, store: Store, transfer: Transfer
) -> None:
    url = server.put("file", Served(DATA))
    store.fetch(digested("file", url, DATA))
    server.requests.clear()
    assert transfer.peek(digested("file", url, DATA), at_its_url) == DATA
    assert server.requests == []


def test_peeking_at_a_cache_and_behind_it_if_it_is_damaged(
    server: FileServer, tmp_path: Path, transfer: Transfer
) -> None:
    cached = tmp_path / "blob"
    url = server.put("config.json", Served(b"{}"))

    def locate(file: File) -> Location:
        return Location(url=file.url, cached=cached.as_uri())

    for content, requests in ((b"{}", 0), (b"[]", 1)):
        cached.write_bytes(content)
        assert transfer.peek(digested("config.json", url, b"{}"), locate) == b"{}"
        assert len(server.requests) == requests


def test_peeking_at_a_local_file(tmp_path: Path, transfer: Transfer) -> None:
    assert transfer.peek(local(tmp_path / "config.json", b"{}"), at_its_url) == b"{}"


def test_a_transfer_can_be_used_again(server: FileServer, store: Store) -> None:
    transfer = Transfer(store.blobs, QUICK)
    for number in range(3):
        data = some_bytes(1000, seed=number)
        url = server.put(str(number), Served(data))
        [fetched] = transfer.fetch([digested(str(number), url, data)], at_its_url, ignore)
        assert store.read(fetched) == data
