"""The blob store."""

import os
import stat
from pathlib import Path

import pytest
from transfers import sha256_of

from nimctl.core.layout import Layout
from nimctl.store.blobs import BlobStore

DATA = b"weights"
SHA256 = sha256_of(DATA)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(Layout(home=str(tmp_path / "nimctl")))


def stage(tmp_path: Path, data: bytes = DATA, name: str = "staged") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_an_adopted_file_is_read_only_under_its_digest_and_gone_from_where_it_was(
    blobs: BlobStore, tmp_path: Path
) -> None:
    staged = stage(tmp_path)
    assert not blobs.has(SHA256)
    inode = staged.stat().st_ino

    path = blobs.adopt(staged, SHA256)

    assert path.stat().st_ino == inode  # a copy could be seen half done

    assert path == blobs.path(SHA256) == blobs.layout.blob(SHA256)
    assert path.read_bytes() == DATA
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert blobs.has(SHA256)
    assert not staged.exists()


def test_a_blob_that_is_there_is_kept_with_its_hard_links(blobs: BlobStore, tmp_path: Path) -> None:
    first = blobs.adopt(stage(tmp_path), SHA256)
    link = tmp_path / "link"
    link.hardlink_to(first)

    again = blobs.adopt(stage(tmp_path), SHA256)

    assert again.samefile(link)
    assert not (tmp_path / "staged").exists()


def test_many_files_are_adopted_at_once(blobs: BlobStore, tmp_path: Path) -> None:
    contents = [b"file %d" % number for number in range(300)]
    staged = [
        (stage(tmp_path, data, f"staged{number}"), sha256_of(data))
        for number, data in enumerate(contents)
    ]

    paths = blobs.adopt_all(staged)

    assert [path.read_bytes() for path in paths] == contents
    assert list(blobs) == sorted(sha256_of(data) for data in contents)


def test_a_check_reads_every_byte(blobs: BlobStore, tmp_path: Path) -> None:
    path = blobs.adopt(stage(tmp_path), SHA256)
    assert blobs.check(SHA256)

    path.chmod(0o644)
    path.write_bytes(b"Weights")

    assert not blobs.check(SHA256)
    with pytest.raises(FileNotFoundError):
        blobs.check("0" * 64)


def test_removing_a_blob_leaves_its_hard_links(blobs: BlobStore, tmp_path: Path) -> None:
    path = blobs.adopt(stage(tmp_path), SHA256)
    link = tmp_path / "link"
    os.link(path, link)

    blobs.remove(SHA256)
    blobs.remove(SHA256)

    assert not blobs.has(SHA256)
    assert link.read_bytes() == DATA
    assert list(blobs) == []
