"""Hashing behind those who write, and what becomes of pieces that are damaged."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from transfers import git_sha1_of, sha256_of, some_bytes

from nimctl.core.facts import File
from nimctl.core.ports import Location
from nimctl.store.transfer.digests import PrefixHasher
from nimctl.store.transfer.download import Download
from nimctl.store.transfer.part import Part
from nimctl.store.transfer.ranges import Ledger, Mark, Piece, Range
from nimctl.store.transfer.route import Route
from nimctl.store.transfer.state import State

DATA = some_bytes(400)


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Part]:
    part = Part.open(tmp_path / "file.part")
    assert part
    part.write(memoryview(DATA), 0)
    yield part
    part.close()


def kept(start: int, end: int) -> Range:
    return Range(start, end, Mark(end - start, zlib.crc32(DATA[start:end])), is_kept=True)


def hasher_of(ledger: Ledger, bad: list[Range]) -> PrefixHasher:
    def empty(one: Range) -> None:
        bad.append(one)
        one.mark, one.is_kept = Mark(0, 0), False

    return PrefixHasher({"git-sha1": ""}, len(DATA), ledger, empty)


def catch_up(hasher: PrefixHasher, part: Part) -> bool:
    return hasher.catch_up(part, lambda: False)


def test_the_prefix_is_hashed_as_it_grows(part: Part) -> None:
    first, second = Range(0, 200, Mark(150, 0)), Range(200, 400, Mark(200, 0))
    hasher = hasher_of(Ledger([first, second]), [])

    assert catch_up(hasher, part)
    assert hasher.position == 150
    assert not catch_up(hasher, part)
    hasher.offer(memoryview(DATA)[160:170], 160)
    assert hasher.position == 150
    hasher.offer(memoryview(DATA)[150:200], 150)
    assert hasher.position == 200
    assert catch_up(hasher, part)

    assert hasher.position == 400
    assert hasher.results() == {"sha256": sha256_of(DATA), "git-sha1": git_sha1_of(DATA)}


def test_all_damaged_pieces_are_found_with_the_first(part: Part) -> None:
    ranges = [kept(0, 100), kept(100, 200), kept(200, 300), kept(300, 400)]
    for damaged in (110, 390):
        part.write(memoryview(b"damage"), damaged)
    bad: list[Range] = []
    hasher = hasher_of(Ledger(ranges), bad)

    catch_up(hasher, part)

    assert bad == [ranges[1], ranges[3]]
    assert hasher.position == 100

    part.write(memoryview(DATA), 0)
    ranges[1].mark = ranges[3].mark = Mark(100, 0)
    catch_up(hasher, part)
    assert hasher.results()["sha256"] == sha256_of(DATA)


def test_a_piece_that_is_not_there_is_bad(part: Part) -> None:
    ranges = [kept(0, 100), kept(100, 400)]
    part.truncate(300)
    bad: list[Range] = []
    hasher = hasher_of(Ledger(ranges), bad)

    catch_up(hasher, part)

    assert bad == [ranges[1]]
    assert hasher.position == 100


def test_hashing_stops_when_told(part: Part) -> None:
    hasher = hasher_of(Ledger([kept(0, 400)]), [])
    assert not hasher.catch_up(part, lambda: True)
    assert hasher.position == 0


def test_a_hasher_from_before_a_restart_comes_to_an_end(tmp_path: Path) -> None:
    """It once tried a piece for ever whose content had been replaced meanwhile."""
    file = File(path="file", url="http://127.0.0.1:9/file", size=len(DATA))
    path = tmp_path / "file.part"
    earlier = Part.open(path)
    assert earlier
    earlier.write(memoryview(DATA)[:200], 0)
    pieces = (Piece(0, 200, zlib.crc32(DATA[:200])),)
    state = State(size=len(DATA), validator='"1"', pieces=pieces)
    earlier.save(lambda: state, durably=False)
    earlier.close()
    download = Download([file], Route(file, lambda _: Location(url=file.url)), range_bytes=100)
    assert download.open(path)
    assert download.kept_bytes == 200
    before = download.hasher

    claimed = download.claim()
    assert claimed
    download.distrust_ranges()
    download.release(claimed, 0)
    download.part.write(memoryview(some_bytes(400, seed=1)), 0)

    assert download.hasher is not before
    catch_up(before, download.part)
    assert download.kept_bytes == 0
    download.leave()
