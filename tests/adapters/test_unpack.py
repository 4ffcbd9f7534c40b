"""Archives that are unpacked while they arrive: the fault matrix, and what is seen meanwhile."""

import gzip
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from archives import archive_of, files_below, plain, special, tar_of, tar_of_entries, zip_of
from fileserver import Fault, FaultKind, FileServer, Ranges, Served
from msgspec.structs import replace
from transfers import RANGE_BYTES, Store, digested, sha256_of, some_bytes

from nimctl.core.errors import DiskFullError, NetworkError, NimctlError, VerificationError
from nimctl.core.events import Emit, Event, Finished, Progressed
from nimctl.core.facts import Artifact, File
from nimctl.core.ports import Fetched, Location
from nimctl.store.extract import Kind
from nimctl.store.transfer import Transfer
from nimctl.store.transfer.state import transfer_id
from nimctl.store.unfinished import Unfinished
from nimctl.store.unpack import Unpacking

MODEL = {
    "config.json": b"{}",
    "weights/a.bin": some_bytes(6 * RANGE_BYTES + 99),
    "weights/b.bin": some_bytes(4 * RANGE_BYTES, seed=1),
    "empty": b"",
}
TINY = {"a": b"a", "b/c": some_bytes(1000)}
KINDS: tuple[Kind, ...] = ("tar", "tar.gz", "tar.zst", "zip")
DATA = archive_of("tar.gz", MODEL)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "nimctl")


class Pulled:
    """What came of an archive."""

    def __init__(self, store: Store, fetched: Fetched, artifact: Artifact) -> None:
        self.fetched = fetched
        self.artifact = artifact
        self.content = {
            file.path: store.blobs.path(file.sha256 or "").read_bytes() for file in artifact.files
        }


def pull(store: Store, file: File, **options: Any) -> Pulled:
    """Fetch and unpack one archive, as `execute` does, and forget it."""
    unpacking = Unpacking([file], store.layout)
    [fetched] = store.fetch(file, follow=unpacking.followers, **options)
    known = replace(file, size=fetched.size, digests={**file.digests, "sha256": fetched.sha256})
    artifact = unpacking.settle(Artifact(reference="https://x/m.tar.gz", files=(known,)))
    Transfer(store.blobs, store.options).forget([file], [file.path])
    return Pulled(store, fetched, artifact)


def saved_bytes(store: Store, file: File) -> int:
    return store.saved_bytes(transfer_id(file, is_followed=True))


def staging(store: Store, file: File) -> Path:
    return store.layout.partial(transfer_id(file, is_followed=True)).with_suffix(".unpack")


def ranged(url: str, data: bytes) -> File:
    return digested("m.tar.gz", url, data)


def of_unknown_size(url: str, data: bytes) -> File:
    return File(path="m.tar.gz", url=url, digests={"sha256": sha256_of(data)})


def undigested(url: str, data: bytes) -> File:
    return File(path="m.tar.gz", url=url, size=len(data))


SHAPES = (ranged, of_unknown_size, undigested)
PLACES = {"first": 0, "middle": len(DATA) // 2, "last": len(DATA) - 1}
FAULTS: tuple[FaultKind, ...] = ("drop", "stall", "corrupt")
MATRIX = [
    pytest.param(shape, fault, at, id=f"{fault}-{name}-{shape.__name__}")
    for shape, fault, (name, at) in product(SHAPES, FAULTS, PLACES.items())
    # Without a digest nobody can know that a byte is wrong before the archive itself is.
    if not (shape is undigested and fault == "corrupt")
    # Each stall takes a second; where it happens is no matter of archives.
    if fault != "stall" or name == "middle"
]


def stalling(kind: FaultKind) -> dict[str, Any]:
    return {"stall_timeout_s": 0.4, "retries": 1} if kind == "stall" else {}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("files", [MODEL, TINY], ids=["large", "tiny"])
def test_every_kind_arrives_unpacked_and_the_archive_does_not_stay(
    server: FileServer, store: Store, kind: Kind, files: Mapping[str, bytes]
) -> None:
    data = archive_of(kind, files)
    file = replace(digested("m." + kind, server.put("file", Served(data)), data))
    events: list[Event] = []

    pulled = pull(store, file, emit=events.append)

    assert pulled.content == files
    assert pulled.fetched.bytes_fetched == server.body_bytes == len(data)
    assert [one.sha256 for one in pulled.artifact.archives] == [sha256_of(data)]
    assert set(store.blobs) == {sha256_of(content) for content in files.values()}
    assert store.leftovers == []
    assert events[-1] == Finished(task=file.path, note=f"unpacked, {len(files)} files")


@pytest.mark.parametrize(("shape", "kind", "at"), MATRIX)
def test_a_fault_that_passes_is_survived_and_no_byte_comes_twice(
    server: FileServer, store: Store, shape: Any, kind: FaultKind, at: int
) -> None:
    file = shape(server.put("file", Served(DATA, faults=[Fault(kind, at=at, times=1)])), DATA)

    pulled = pull(store, file, **stalling(kind))

    assert pulled.content == MODEL
    assert server.body_bytes == len(DATA) * (2 if kind == "corrupt" else 1)
    assert store.leftovers == []


@pytest.mark.parametrize(("shape", "kind", "at"), MATRIX)
def test_a_fault_that_stays_is_an_error_and_a_later_run_fetches_only_the_rest(
    server: FileServer, store: Store, shape: Any, kind: FaultKind, at: int
) -> None:
    file = shape(server.put("file", Served(DATA, faults=[Fault(kind, at=at)])), DATA)

    expected = VerificationError if kind == "corrupt" else NetworkError
    with pytest.raises(expected, match=r"m\.tar\.gz"):
        pull(store, file, **stalling(kind))
    assert store.is_empty()
    assert not staging(store, file).exists()
    had = saved_bytes(store, file)
    if kind == "corrupt":
        assert store.leftovers == []
    server.heal("file")
    pulled = pull(store, file)

    assert pulled.content == MODEL
    assert pulled.fetched.bytes_reused == had
    assert pulled.fetched.bytes_fetched == server.body_bytes == len(DATA) - had
    assert store.leftovers == []


@pytest.mark.parametrize("kind", ["tar", "tar.zst", "zip"])
@pytest.mark.parametrize("fault", ["drop", "corrupt"])
def test_the_other_kinds_survive_faults_too(
    server: FileServer, store: Store, kind: Kind, fault: FaultKind
) -> None:
    data = archive_of(kind, MODEL)
    faults = [Fault(fault, at=at, times=1) for at in (0, len(data) // 2, len(data) - 1)]
    url = server.put("file", Served(data, faults=faults))

    assert pull(store, digested("m." + kind, url, data)).content == MODEL


@pytest.mark.parametrize("at", [PLACES["middle"], PLACES["last"]])
def test_damage_on_the_way_is_found_by_the_archive_where_there_is_no_digest(
    server: FileServer, store: Store, at: int
) -> None:
    url = server.put("file", Served(DATA, faults=[Fault("corrupt", at=at, times=1)]))
    file = undigested(url, DATA)

    with pytest.raises(VerificationError, match="malformed"):
        pull(store, file)
    assert store.is_empty()
    assert store.leftovers == []

    assert pull(store, file).content == MODEL


@pytest.mark.parametrize("ranges", ["ignored", "wrong", "unsatisfiable"])
def test_a_server_that_cannot_do_ranges_is_unpacked_from_one_stream(
    server: FileServer, store: Store, ranges: Ranges
) -> None:
    fault = Fault("drop", at=len(DATA) // 2, times=2)
    url = server.put("file", Served(DATA, ranges=ranges, faults=[fault]))
    assert pull(store, ranged(url, DATA)).content == MODEL
    assert store.leftovers == []


def test_an_archive_that_changes_midway_is_never_mixed(server: FileServer, store: Store) -> None:
    other = {"other": some_bytes(9 * RANGE_BYTES, seed=2)}
    later = gzip.compress(tar_of(other), compresslevel=0)
    cut = Fault("drop", at=len(DATA) // 2, times=1)
    old = Served(DATA, faults=[cut], becomes=(1, Served(later, etag='"2"')))
    file = File(path="m.tar.gz", url=server.put("file", old))

    assert pull(store, file).content == other
    assert set(store.blobs) == {sha256_of(other["other"])}


def test_a_location_that_expires_midway_is_asked_for_again(
    server: FileServer, store: Store
) -> None:
    url = server.put("file", Served(DATA, signature="1", signature_lasts=2))

    def locate(file: File) -> Location:
        return Location(url=f"{file.url}?X-Amz-Signature={server.signature('file')}")

    pulled = pull(store, ranged(url, DATA), locate=locate)

    assert pulled.content == MODEL
    assert server.body_bytes == len(DATA)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_digested", [True, False])
def test_an_archive_that_was_published_truncated_is_refused_and_nothing_stays(
    server: FileServer, store: Store, kind: Kind, *, is_digested: bool
) -> None:
    whole = archive_of(kind, MODEL)
    data = whole[: len(whole) * 2 // 3]
    file = digested("m." + kind, server.put("file", Served(data)), data)
    if not is_digested:
        file = replace(file, digests={})

    with pytest.raises(VerificationError, match="malformed"):
        pull(store, file)

    assert store.is_empty()
    assert store.leftovers == []
    assert server.body_bytes == len(data)


@pytest.mark.parametrize("is_digested", [True, False])
def test_a_hostile_member_is_refused_whatever_came_before_it(
    server: FileServer, store: Store, *, is_digested: bool
) -> None:
    entries = [
        (plain("good", RANGE_BYTES), some_bytes(RANGE_BYTES)),
        (special("link", b"2", "/etc/passwd"), b""),
        (plain("rest", 8 * RANGE_BYTES), some_bytes(8 * RANGE_BYTES)),
    ]
    data = tar_of_entries(entries)
    file = digested("m.tar", server.put("file", Served(data)), data)
    if not is_digested:
        file = replace(file, digests={})

    with pytest.raises(VerificationError, match=r"m\.tar: the archive's entry 'link'"):
        pull(store, file)

    assert store.is_empty()
    assert store.leftovers == []


@pytest.mark.parametrize("is_digested", [True, False])
def test_a_bomb_is_refused_and_fills_nothing(
    server: FileServer, store: Store, *, is_digested: bool
) -> None:
    data = gzip.compress(tar_of({"zeros": bytes(48 * 2**20)}))
    file = digested("m.tar.gz", server.put("file", Served(data)), data)
    if not is_digested:
        file = replace(file, digests={})

    with pytest.raises(VerificationError, match=r"m\.tar\.gz: .* more than 200 times its size"):
        pull(store, file)

    assert store.is_empty()
    assert store.leftovers == []


def test_a_zip_whose_directory_tells_something_else_is_refused_at_its_end(
    server: FileServer, store: Store
) -> None:
    data = bytearray(zip_of(MODEL))
    at = data.rindex(b"config.json")
    data[at : at + 11] = b"CONFIG.JSON"
    url = server.put("file", Served(bytes(data)))

    with pytest.raises(VerificationError, match="malformed"):
        pull(store, digested("m.zip", url, bytes(data)))

    assert store.is_empty()


def test_members_are_written_while_the_rest_is_on_its_way_and_have_no_names_yet(
    server: FileServer, store: Store
) -> None:
    first, second = some_bytes(2**20), some_bytes(2**20, seed=1)
    data = tar_of({"first": first, "second": second})
    url = server.put("file", Served(data, faults=[Fault("stall", at=len(data) - 1)]))
    file = digested("m.tar", url, data)

    with ThreadPoolExecutor(1) as pool:
        stalled = pool.submit(pull, store, file, stall_timeout_s=3600.0)
        while files_below(staging(store, file)).get("first") != first:
            time.sleep(0.01)
        assert store.is_empty()
        server.heal("file")
        server.release()
        assert stalled.result().content == {"first": first, "second": second}


def leave_half(server: FileServer, store: Store) -> File:
    file = ranged(server.put("file", Served(DATA, faults=[Fault("drop", at=len(DATA) // 2)])), DATA)
    with pytest.raises(NetworkError):
        pull(store, file)
    server.heal("file")
    return file


def test_damage_of_what_is_kept_is_found_and_unpacking_begins_anew(
    server: FileServer, store: Store
) -> None:
    file = leave_half(server, store)
    id_ = transfer_id(file, is_followed=True)
    had = saved_bytes(store, file)
    damaged = store.state(id_).pieces[1]
    with store.part(id_).open("r+b") as part:
        part.seek(damaged.start + 5)
        part.write(b"damaged")

    pulled = pull(store, file)

    assert pulled.content == MODEL
    assert pulled.fetched.bytes_reused == had - (damaged.end - damaged.start)
    assert server.body_bytes == len(DATA) - pulled.fetched.bytes_reused


def test_what_a_killed_process_left_unpacked_is_thrown_away(
    server: FileServer, store: Store
) -> None:
    file = leave_half(server, store)
    (staging(store, file) / "weights").mkdir(parents=True)
    (staging(store, file) / "weights" / "a.bin").write_bytes(b"old")

    assert pull(store, file).content == MODEL
    assert store.leftovers == []


def test_until_it_is_forgotten_a_complete_archive_is_not_fetched_again(
    server: FileServer, store: Store
) -> None:
    file = ranged(server.put("file", Served(DATA)), DATA)
    store.fetch(file, follow=Unpacking([file], store.layout).followers)
    assert store.leftovers == [".part", ".state"]
    server.heal("file")

    pulled = pull(store, file)

    assert (pulled.content, server.body_bytes) == (MODEL, 0)
    assert pulled.fetched.bytes_reused == len(DATA)
    assert store.leftovers == []


def test_an_archive_that_the_store_has_is_unpacked_from_there_and_stays(
    server: FileServer, store: Store
) -> None:
    file = ranged(server.put("file", Served(DATA)), DATA)
    store.fetch(file)
    server.heal("file")

    pulled = pull(store, file)

    assert (pulled.content, server.requests) == (MODEL, [])
    assert store.blobs.check(sha256_of(DATA))
    assert store.leftovers == []


def test_an_archive_that_is_damaged_in_the_store_is_fetched(
    server: FileServer, store: Store
) -> None:
    file = ranged(server.put("file", Served(DATA)), DATA)
    store.fetch(file)
    blob = store.blobs.path(sha256_of(DATA))
    blob.chmod(0o644)
    blob.write_bytes(DATA[:-9] + b"damaged!!")
    server.heal("file")

    assert pull(store, file).content == MODEL
    assert server.body_bytes == len(DATA)


def test_a_local_archive_is_read_where_it_is(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "m.tar.gz"
    path.write_bytes(DATA)
    file = File(path="m.tar.gz", url=path.as_uri(), size=len(DATA))
    copied: list[int] = []

    def watch(event: Event) -> None:
        if isinstance(event, Progressed):
            copied.extend(part.stat().st_blocks for part in path.parent.rglob("*.part"))

    pulled = pull(store, file, emit=watch)

    assert pulled.content == MODEL
    assert pulled.fetched.bytes_fetched == len(DATA)
    assert not any(copied)
    assert path.read_bytes() == DATA
    assert store.leftovers == []


@pytest.mark.parametrize("is_archive_first", [True, False])
def test_a_copy_of_an_archive_that_is_no_archive_is_a_file_like_any_other(
    server: FileServer, store: Store, *, is_archive_first: bool
) -> None:
    archive = ranged(server.put("file", Served(DATA)), DATA)
    copy = replace(archive, path="m.tar.gz.bak")
    files = [archive, copy] if is_archive_first else [copy, archive]

    store.fetch(*files, follow=Unpacking([archive], store.layout).followers)

    assert set(store.blobs) == {sha256_of(one) for one in (DATA, *MODEL.values())}


def test_two_archives_in_one_fetch(server: FileServer, store: Store) -> None:
    other = zip_of(TINY)
    first = ranged(server.put("file", Served(DATA)), DATA)
    second = digested("n.zip", server.put("other", Served(other)), other)
    unpacking = Unpacking([first, second], store.layout)
    store.fetch(first, second, follow=unpacking.followers)

    artifact = unpacking.settle(Artifact(reference="https://x/m", files=(first, second)))

    assert {file.path for file in artifact.files} == {*MODEL, *TINY}


def test_what_was_unpacked_is_needed_until_all_archives_are(
    server: FileServer, store: Store
) -> None:
    other = zip_of(TINY)
    first = ranged(server.put("file", Served(DATA)), DATA)
    second = digested("n.zip", server.put("other", Served(other)), other)
    needed: list[frozenset[str]] = []

    def watch(event: Event) -> None:
        if isinstance(event, Finished):
            needed.append(Unfinished(store.layout).needed())

    follow = Unpacking([first, second], store.layout).followers
    Unfinished(store.layout).want("files", [])  # as the fetch is called
    store.fetch(first, second, follow=follow, emit=watch)

    assert needed[-1] == {sha256_of(one) for one in (*MODEL.values(), *TINY.values())}
    Unfinished(store.layout).forget("files")
    assert Unfinished(store.layout).needed() == set()


def interrupting(at: int) -> Emit:
    def interrupt(event: Event) -> None:
        if isinstance(event, Progressed) and event.done >= at:
            raise KeyboardInterrupt

    return interrupt


def test_an_interrupt_keeps_the_archive_and_removes_what_was_unpacked(
    server: FileServer, store: Store
) -> None:
    stall = Fault("stall", at=len(DATA) - 1)
    file = ranged(server.put("file", Served(DATA, faults=[stall])), DATA)

    with pytest.raises(KeyboardInterrupt):
        pull(store, file, emit=interrupting(len(DATA) // 2))
    had = saved_bytes(store, file)
    server.heal("file")

    assert had >= len(DATA) // 2
    assert store.leftovers == [".part", ".state"]
    assert pull(store, file).fetched.bytes_reused == had


@pytest.mark.parametrize("is_digested", [True, False])
def test_a_disk_that_is_too_small_for_what_is_in_it_keeps_the_archive(
    server: FileServer, small_disk: Path, *, is_digested: bool
) -> None:
    store = Store(small_disk / "nimctl")
    data = gzip.compress(tar_of({"zeros": bytes(3 * 2**20), "noise": MODEL["weights/a.bin"]}))
    file = digested("m.tar.gz", server.put("file", Served(data)), data)
    if not is_digested:
        file = replace(file, digests={})

    with pytest.raises(DiskFullError) as caught:
        pull(store, file)

    assert isinstance(caught.value, NimctlError)
    assert caught.value.hint
    assert store.is_empty()
    assert not staging(store, file).exists()
