"""What reaches the disk, and the checksums that are computed on the way."""

import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimctl.store import fast_zlib
from nimctl.store.syncing import begin_to_sync, sync


@pytest.mark.parametrize("count", [1, 300])
def test_files_and_directories_are_synchronised_few_or_many(tmp_path: Path, count: int) -> None:
    paths = [tmp_path / str(number) for number in range(count)]
    for path in paths:
        path.write_bytes(b"bytes")
    sync([*paths, tmp_path])
    with pytest.raises(FileNotFoundError):
        sync([tmp_path / "missing"])


def test_a_wish_to_write_changes_nothing_and_may_fail(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.write(b"bytes" * 2**18)
        file.flush()
        begin_to_sync(file.fileno(), 0, file.tell())
        begin_to_sync(-1, 0, 1)
    assert path.read_bytes() == b"bytes" * 2**18


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1))
def test_all_libraries_sum_up_alike(data: bytes, before: int) -> None:
    assert fast_zlib.crc32(memoryview(data), before) == zlib.crc32(data, before)
