"""Bytes are never lost: kills, interrupts, damaged states, full disks, and two at once."""

import os
import random
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from fileserver import Fault, FileServer, Served
from msgspec.structs import replace
from transfers import (
    RANGE_BYTES,
    Store,
    at_its_url,
    digested,
    git_sha1_of,
    ignore,
    sha256_of,
    some_bytes,
)

from nimctl.core.errors import DiskFullError, NetworkError, Terminated
from nimctl.core.events import Event, Finished, Noted, Progressed
from nimctl.core.facts import File
from nimctl.store.transfer import Transfer
from nimctl.store.transfer.ranges import Piece
from nimctl.store.transfer.state import State, encode, transfer_id

MIB = 2**20
DATA = some_bytes(64 * RANGE_BYTES)
SMALL = DATA[:1000]

FETCH = """
import json, sys
from pathlib import Path
import msgspec
from msgspec.structs import replace
from nimctl.core.facts import File
from transfers import QUICK, Store

home, file, options = sys.argv[1:]
store = Store(Path(home), replace(QUICK, **json.loads(options)))
print("begun", flush=True)
try:
    [fetched] = store.fetch(msgspec.json.decode(file, type=File))
except KeyboardInterrupt:
    sys.exit(130)
print(fetched.bytes_fetched, fetched.bytes_reused)
"""


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "nimctl")


def start(store: Store, file: File, options: str = "{}") -> "subprocess.Popen[str]":
    """Fetch in a process of its own; returns when that has begun."""
    support = Path(__file__).parent.parent / "support"
    argv = [store.layout.home, msgspec.json.encode(file).decode(), options]
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", FETCH, *argv],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(support), *sys.path])},
    )
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    return process


def leave_half(server: FileServer, store: Store, file: File) -> int:
    """Have a fetch of `file` from path `file` fail midway; returns how many bytes it left."""
    with pytest.raises(NetworkError):
        store.fetch(file)
    had = store.saved_bytes(transfer_id(file))
    assert 0 < had < len(DATA)
    server.heal("file")
    return had


def cut_midway() -> Served:
    return Served(DATA, faults=[Fault("drop", at=len(DATA) // 2 + 10)])


def test_a_fetch_that_is_killed_at_any_moment_goes_on_and_loses_at_most_unfinished_ranges(
    server: FileServer, store: Store
) -> None:
    kills, connections, range_bytes = 12, 2, 16 * 1024
    url = server.put("file", Served(DATA, bytes_per_s=MIB))
    file = digested("file", url, DATA)
    options = f'{{"connections": {connections}, "range_bytes": {range_bytes}}}'
    dice = random.Random(3)

    for _ in range(kills):
        with start(store, file, options) as process:
            time.sleep(dice.uniform(0.0, 0.2))
            process.kill()
        assert all(store.blobs.check(sha256) for sha256 in store.blobs)
    sent_bytes = server.body_bytes
    server.heal("file")
    [fetched] = store.fetch(file)

    assert store.read(fetched) == DATA
    assert fetched.bytes_fetched + fetched.bytes_reused == len(DATA)
    assert fetched.bytes_reused >= sent_bytes - kills * connections * range_bytes
    assert fetched.bytes_reused > 0
    assert store.leftovers == []


def test_of_two_processes_one_fetches_and_the_other_waits(server: FileServer, store: Store) -> None:
    file = digested("file", server.put("file", Served(DATA, bytes_per_s=4 * MIB)), DATA)

    with start(store, file) as one, start(store, file) as other:
        outputs = {one.communicate(timeout=60)[0], other.communicate(timeout=60)[0]}

    assert outputs == {f"{len(DATA)} 0\n", f"0 {len(DATA)}\n"}
    assert server.body_bytes == len(DATA)
    assert store.leftovers == []


def test_of_two_threads_one_fetches_and_the_other_says_that_it_waits(
    server: FileServer, store: Store
) -> None:
    file = digested("file", server.put("file", Served(DATA, bytes_per_s=4 * MIB)), DATA)
    events: list[Event] = []

    def fetch() -> int:
        transfer = Transfer(store.blobs, store.options)
        [fetched] = transfer.fetch([file], at_its_url, events.append)
        return fetched.bytes_fetched

    with ThreadPoolExecutor(2) as pool:
        counts = [pool.submit(fetch) for _ in range(2)]
        assert sorted(count.result() for count in counts) == [0, len(DATA)]

    assert server.body_bytes == len(DATA)
    assert [event for event in events if isinstance(event, Noted)]


def test_when_the_one_that_fetches_dies_the_one_that_waits_goes_on(
    server: FileServer, store: Store
) -> None:
    file = digested("file", server.put("file", Served(DATA, bytes_per_s=MIB)), DATA)

    with start(store, file) as first:
        while not store.saved_bytes(file.digests["sha256"]):
            time.sleep(0.01)
        with start(store, file) as second:
            first.kill()
            fetched, reused = map(int, second.communicate(timeout=60)[0].split())

    assert fetched + reused == len(DATA)
    assert reused > 0
    assert store.blobs.check(file.digests["sha256"])


def test_an_interrupt_saves_what_is_there_and_comes_through(
    server: FileServer, store: Store
) -> None:
    stalls = [Fault("stall", at=at) for at in range(len(DATA) // 2, len(DATA), 1000)]
    file = digested("file", server.put("file", Served(DATA, faults=stalls)), DATA)

    def interrupt(event: Event) -> None:
        if isinstance(event, Progressed) and event.done >= len(DATA) // 2:
            raise Terminated

    with pytest.raises(Terminated):
        store.fetch(file, emit=interrupt, stall_timeout_s=3600.0)
    assert not store.threads
    had = store.saved_bytes(transfer_id(file))
    server.heal("file")
    events: list[Event] = []
    [fetched] = store.fetch(file, emit=events.append)

    assert had >= len(DATA) // 2
    assert store.read(fetched) == DATA
    assert (fetched.bytes_reused, server.body_bytes) == (had, len(DATA) - had)
    assert events[-1] == Finished(task="file", note=f"resumed at {had / MIB:,.1f} MiB")


def test_a_signal_ends_a_fetch_that_is_stalled(server: FileServer, store: Store) -> None:
    file = digested("file", server.put("file", Served(DATA, faults=[Fault("stall")])), DATA)

    # The stall would last longer than the test may.
    with start(store, file, '{"stall_timeout_s": 3600}') as process:
        while not server.requests:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    assert process.returncode == 130


def test_what_is_damaged_on_the_disk_is_found_and_only_that_is_fetched_again(
    server: FileServer, store: Store
) -> None:
    file = digested("file", server.put("file", cut_midway()), DATA)
    had = leave_half(server, store, file)
    damaged = store.state(transfer_id(file)).pieces[3]
    with store.part(transfer_id(file)).open("r+b") as part:
        part.seek(damaged.start + 5)
        part.write(b"damaged")

    [fetched] = store.fetch(file)

    assert store.read(fetched) == DATA
    lost = damaged.end - damaged.start
    assert fetched.bytes_reused == had - lost
    assert fetched.bytes_fetched == server.body_bytes == len(DATA) - had + lost


def test_damage_is_found_in_a_stream_too(server: FileServer, store: Store) -> None:
    url = server.put("file", cut_midway())
    file = File(path="file", url=url, digests={"sha256": sha256_of(DATA)})
    leave_half(server, store, file)
    with store.part(transfer_id(file)).open("r+b") as part:
        part.write(b"damaged")

    [fetched] = store.fetch(file)

    assert store.read(fetched) == DATA
    assert fetched.bytes_reused == 0


@pytest.mark.parametrize("is_digested", [True, False])
def test_a_part_that_lost_its_end_to_a_power_failure_is_completed(
    server: FileServer, store: Store, *, is_digested: bool
) -> None:
    url = server.put("file", cut_midway())
    file = digested("file", url, DATA)
    if not is_digested:
        file = replace(file, digests={})
    leave_half(server, store, file)
    kept = 10 * RANGE_BYTES
    os.truncate(store.part(transfer_id(file)), kept)

    [fetched] = store.fetch(file)

    assert store.read(fetched) == DATA
    assert fetched.bytes_reused == kept


@pytest.mark.parametrize("damage", [b"", b"{", b"\0" * 100])
def test_without_a_state_a_fetch_begins_anew(
    server: FileServer, store: Store, damage: bytes
) -> None:
    file = digested("file", server.put("file", cut_midway()), DATA)
    leave_half(server, store, file)
    store.state_path(transfer_id(file)).write_bytes(damage)

    [fetched] = store.fetch(file)

    assert store.read(fetched) == DATA
    assert fetched.bytes_reused == 0


def test_a_mirror_goes_on_with_what_another_server_began(server: FileServer, store: Store) -> None:
    had = leave_half(server, store, digested("file", server.put("file", cut_midway()), DATA))
    mirror = server.put("mirror", Served(DATA, etag='"other"'))

    [fetched] = store.fetch(digested("renamed", mirror, DATA))

    assert store.read(fetched) == DATA
    assert fetched.bytes_fetched >= len(DATA) - had


def test_without_a_digest_only_unchanged_content_is_gone_on_with(
    server: FileServer, store: Store
) -> None:
    url = server.put("file", cut_midway())
    file = File(path="file", url=url, size=len(DATA))
    leave_half(server, store, file)
    new = some_bytes(len(DATA), seed=1)
    server.put("file", Served(new, etag='"2"'))

    [fetched] = store.fetch(file)

    assert store.read(fetched) == new
    assert fetched.bytes_reused == 0


def test_without_digest_and_validator_a_fetch_begins_anew(server: FileServer, store: Store) -> None:
    served = cut_midway()
    served.etag = None
    file = File(path="file", url=server.put("file", served), size=len(DATA))
    leave_half(server, store, file)

    [fetched] = store.fetch(file)

    assert store.read(fetched) == DATA
    assert fetched.bytes_reused == 0


def test_what_was_complete_but_not_named_yet_is_not_fetched_again(
    server: FileServer, store: Store
) -> None:
    file = digested("file", server.put("file", Served(DATA)), DATA)
    part = store.part(transfer_id(file))
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA)
    state = State(size=len(DATA), pieces=(Piece(0, len(DATA), zlib.crc32(DATA)),))
    store.state_path(transfer_id(file)).write_bytes(encode(state))

    [fetched] = store.fetch(file)

    assert server.requests == []
    assert (fetched.bytes_fetched, fetched.bytes_reused) == (0, len(DATA))
    assert store.leftovers == []


@pytest.mark.parametrize("is_right", [True, False])
def test_a_small_file_that_a_killed_process_completed_is_believed_if_its_digest_is_right(
    server: FileServer, store: Store, *, is_right: bool
) -> None:
    # A wrong guess does not count as a try: the first real one may be corrupted.
    fault = Fault("corrupt", times=1)
    file = digested("file", server.put("file", Served(SMALL, faults=[fault])), SMALL)
    part = store.part(transfer_id(file))
    part.parent.mkdir(parents=True)
    part.write_bytes(SMALL if is_right else SMALL[::-1])

    [fetched] = store.fetch(file)

    assert store.read(fetched) == SMALL
    assert fetched.bytes_reused == (len(SMALL) if is_right else 0)
    assert len(server.requests) == (0 if is_right else 2)


@pytest.mark.parametrize("is_recognisable", [True, False])
def test_a_file_whose_digest_only_the_fetch_told_is_there_until_that_is_noted_down(
    server: FileServer, store: Store, *, is_recognisable: bool
) -> None:
    url = server.put("file", Served(SMALL))
    file = File(path="file", url=url, size=len(SMALL))
    if is_recognisable:
        file = replace(file, digests={"git-sha1": git_sha1_of(SMALL)})
    transfer = Transfer(store.blobs, store.options)

    def fetched_bytes() -> int:
        [fetched] = transfer.fetch([file], at_its_url, ignore)
        assert store.read(fetched) == SMALL
        return fetched.bytes_fetched

    assert fetched_bytes() == len(SMALL)
    assert fetched_bytes() == (0 if is_recognisable else len(SMALL))
    transfer.forget([file])
    assert store.leftovers == []
    assert fetched_bytes() == len(SMALL)


def test_what_was_left_by_a_kill_right_after_the_last_step_is_tidied_up(
    server: FileServer, store: Store
) -> None:
    file = digested("file", server.put("file", Served(SMALL)), SMALL)
    store.fetch(file)
    left = store.state_path(transfer_id(file))
    left.write_bytes(encode(State()))

    store.fetch(file)
    assert store.leftovers == []

    store.part(transfer_id(file)).write_bytes(b"somebody fetches the same")
    left.write_bytes(encode(State()))
    store.fetch(file)
    assert store.leftovers == [".part", ".state"]


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


@needs_root
def test_a_disk_that_is_too_small_is_noticed_before_the_first_byte(
    server: FileServer, small_disk: Path
) -> None:
    store = Store(small_disk / "nimctl")
    file = digested("file", server.put("file", Served(DATA)), DATA)

    with pytest.raises(DiskFullError) as caught:
        store.fetch(file)

    assert "goes on" in (caught.value.hint or "")
    assert server.requests == []
    assert store.leftovers == []


@needs_root
def test_a_disk_that_fills_up_midway_keeps_what_is_there(
    server: FileServer, small_disk: Path
) -> None:
    store = Store(small_disk / "nimctl")
    url = server.put("file", Served(DATA, framing="chunked"))
    file = File(path="file", url=url, digests={"sha256": sha256_of(DATA)})

    with pytest.raises(DiskFullError):
        store.fetch(file)
    had = store.saved_bytes(transfer_id(file))
    assert had > MIB
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    server.heal("file")
    [fetched] = store.fetch(file)

    assert store.read(fetched) == DATA
    assert fetched.bytes_reused == had
    assert server.body_bytes == len(DATA) - had
