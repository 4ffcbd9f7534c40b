"""Archives are unpacked while they arrive."""

import contextlib
import gzip
import io
import os
import random
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
import zlib
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from archives import archive_of, files_below, pieces, plain, tar_of, tar_of_entries, unpack, zip_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nimctl.core.errors import DiskFullError, VerificationError
from nimctl.store.extract import Extractor, Kind, Member, kind_of
from nimctl.store.extract.deflate import GZIP, PIECE_BYTES, RAW, Inflater

KINDS: tuple[Kind, ...] = get_args(Kind)
NOISE = random.Random(7).randbytes(3 << 20)
MODEL = {
    "config.json": b"{}",
    "empty": b"",
    "model-store/ensemble/1/model.py": b"pass\n" * 1000,
    "a block of tar": NOISE[:512],
    "weights/été.safetensors": NOISE,
    "/".join(["long" * 12] * 4): b"long name",
    "zeros.bin": bytes(1 << 20),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [7_919, 1 << 20, 1 << 24])
def test_what_went_in_comes_out(tmp_path: Path, kind: Kind, step: int) -> None:
    archive = archive_of(kind, MODEL)
    assert unpack(tmp_path / "out", kind, pieces(archive, step)) == MODEL


@pytest.mark.parametrize("kind", KINDS)
def test_directories_with_nothing_in_them_are_told(tmp_path: Path, kind: Kind) -> None:
    directories = ("./a/", "./a/1/", "./b/", "./b/c/d/", "./full/", "./full/of/")
    archive = archive_of(kind, dict.fromkeys(directories, b"") | {"full/of/bytes": b"x"})
    with Extractor(tmp_path, kind) as extractor:
        extractor.feed(archive)
        extractor.finish()
    assert extractor.empty_directories == ("a/1", "b/c/d")
    assert (tmp_path / "a/1").is_dir()


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(st.integers(0, 5000), max_size=30), st.sampled_from([1, 2, 511, 512, 4096]))
@settings(max_examples=30, deadline=None)
@example([], 1)
def test_it_does_not_matter_where_the_stream_is_cut_into_pieces(
    kind: Kind, cuts: list[int], step: int
) -> None:
    files = {"a/b": NOISE[:1500], "c": b"", "d" * 120: b"x"}
    archive = archive_of(kind, files)
    bounds = sorted({0, *cuts, len(archive)})
    parts = [archive[start:end] for start, end in pairwise(bounds)]
    with tempfile.TemporaryDirectory() as home:
        small = (piece for part in parts for piece in pieces(part, step))
        assert unpack(Path(home, "out"), kind, small) == files


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_format_that_python_writes_is_read(tmp_path: Path, form: int) -> None:
    assert unpack(tmp_path / "out", "tar", tar_of(MODEL, form=form)) == MODEL


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The model's files, as other programs pack them."""
    for name, content in MODEL.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "tree/directory").mkdir()
    (tmp_path / "tree/config.json").chmod(0o6755)
    return tmp_path / "tree"


def made_by(*argv: str, at: Path) -> bytes:
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed; on Debian: apt-get install tar zip zstd")
    return subprocess.run(argv, check=True, cwd=at, stdout=subprocess.PIPE).stdout


@pytest.mark.parametrize("form", ["gnu", "oldgnu", "posix", "ustar", "v7"])
def test_every_format_that_gnu_tar_writes_is_read(tmp_path: Path, tree: Path, form: str) -> None:
    files = dict(MODEL)
    if form == "v7":  # which has room for 99 bytes of a name
        (name,) = (name for name in files if len(name) > 99)
        (tree / name).unlink()
        (tree / name.rpartition("/")[0]).rmdir()
        del files[name]
        made = ["--exclude=" + name.partition("/")[0]]
    else:
        made = []
    archive = made_by("tar", "-c", f"--format={form}", *made, ".", at=tree)
    assert unpack(tmp_path / "out", "tar", archive) == files
    assert (tmp_path / "out/directory").is_dir()


@pytest.mark.parametrize("flags", [(), ("-0",), ("-fz",), ("-X", "-D")])
def test_what_info_zip_writes_is_read(tmp_path: Path, tree: Path, flags: tuple[str, ...]) -> None:
    made_by("zip", "-q", "-r", *flags, "../made.zip", ".", at=tree)
    assert unpack(tmp_path / "out", "zip", (tmp_path / "made.zip").read_bytes()) == MODEL


def test_a_zip_that_was_written_into_a_pipe_is_read(tmp_path: Path, tree: Path) -> None:
    archive = made_by("zip", "-q", "-r", "-", ".", at=tree)
    assert unpack(tmp_path / "zip", "zip", archive) == MODEL
    assert unpack(tmp_path / "python", "zip", zip_of(MODEL, is_pipe=True)) == MODEL


def test_zip64_is_read(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a", "w", force_zip64=True) as entry:
            entry.write(b"wide")
        archive.comment = b"and a comment"
    assert unpack(tmp_path / "out", "zip", stream.getvalue()) == {"a": b"wide"}


@pytest.mark.parametrize("program", [("zstd", "-q", "--long=27"), ("pzstd", "-q", "-p", "2")])
def test_what_zstd_writes_is_read(tmp_path: Path, tree: Path, program: tuple[str, ...]) -> None:
    made_by("tar", "-cf", "../made.tar", ".", at=tree)
    archive = made_by(*program, "-c", "made.tar", at=tmp_path)
    assert unpack(tmp_path / "out", "tar.zst", archive) == MODEL


def test_a_gzip_stream_may_have_several_members_and_padding(tmp_path: Path) -> None:
    tar = tar_of(MODEL)
    archive = b"".join(gzip.compress(part) for part in pieces(tar, 700_001))
    assert unpack(tmp_path / "out", "tar.gz", archive + bytes(10_240)) == MODEL


def test_an_archive_of_nothing_gives_nothing(tmp_path: Path) -> None:
    for kind in KINDS:
        assert unpack(tmp_path / kind, kind, archive_of(kind, {})) == {}


def test_a_directory_may_be_named_twice_and_keeps_its_files(tmp_path: Path) -> None:
    directory = tarfile.TarInfo("a")
    directory.type = tarfile.DIRTYPE
    entries = [(directory, b""), (plain("a/b", 1), b"x"), (directory, b"")]
    assert unpack(tmp_path / "out", "tar", tar_of_entries(entries)) == {"a/b": b"x"}


def test_permissions_are_not_taken_over(tmp_path: Path, tree: Path) -> None:
    unpack(tmp_path / "out", "tar", made_by("tar", "-c", ".", at=tree))
    for path in (tmp_path / "out").rglob("*"):
        allowed = 0o755 if path.is_dir() else 0o644
        assert stat.S_IMODE(path.stat().st_mode) & ~allowed == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_memory_that_was_fed_may_be_used_again(tmp_path: Path, kind: Kind) -> None:
    archive = archive_of(kind, MODEL)
    buffer = bytearray(64 * 1024)
    (tmp_path / "out").mkdir()
    with Extractor(tmp_path / "out", kind) as extractor:
        for piece in pieces(archive, len(buffer)):
            buffer[: len(piece)] = piece
            extractor.feed(memoryview(buffer)[: len(piece)])
            buffer[:] = b"!" * len(buffer)
        extractor.finish()
    assert files_below(tmp_path / "out") == MODEL


def test_each_file_is_announced_once_it_is_written(tmp_path: Path) -> None:
    announced: list[str] = []

    def check(member: Member) -> None:
        assert threading.current_thread() is threading.main_thread()
        assert (tmp_path / "out" / member.path).stat().st_size == member.size
        announced.append(member.path)

    unpack(tmp_path / "out", "tar.gz", archive_of("tar.gz", MODEL), on_file=check)
    assert announced == list(MODEL)


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path, kind: Kind) -> None:
    archive = archive_of(kind, {"a/b": NOISE[:700], "c": b"abc"})
    used = len(archive.rstrip(b"\0")) + 1024 if kind == "tar" else len(archive)
    for size in {*range(0, used, 61), used - 1}:
        with pytest.raises(VerificationError, match="malformed"):
            unpack(tmp_path / str(size), kind, archive[:size])


def test_what_is_interrupted_leaves_only_its_directory_and_no_thread(tmp_path: Path) -> None:
    threads = threading.active_count()
    (tmp_path / "out").mkdir()
    with (
        contextlib.suppress(KeyboardInterrupt),
        Extractor(tmp_path / "out", "tar") as extractor,
    ):
        extractor.feed(tar_of(MODEL)[: 2 << 20])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]
    assert threading.active_count() == threads
    with pytest.raises(ValueError, match="closed"):
        extractor.finish()


def test_an_error_ends_it_for_good(tmp_path: Path) -> None:
    extractor = Extractor(tmp_path, "tar")
    with pytest.raises(VerificationError):
        extractor.feed(b"x" * 512)
    with pytest.raises(ValueError, match="closed"):
        extractor.finish()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize("is_announced", [True, False])
def test_a_full_disk_is_told(small_disk: Path, *, is_announced: bool) -> None:
    archive = zip_of({"weights": NOISE}, is_pipe=not is_announced)
    with pytest.raises(DiskFullError) as caught:
        unpack(small_disk / "out", "zip", archive)
    assert caught.value.hint
    if is_announced:
        assert not files_below(small_disk / "out")


def test_a_link_that_another_program_plants_is_not_followed(tmp_path: Path) -> None:
    for planted in ("a", "file"):
        directory = tmp_path / f"for {planted}"
        directory.mkdir()
        (directory / planted).symlink_to(tmp_path / "outside")
        (tmp_path / "outside").mkdir(exist_ok=True)
        with Extractor(directory, "tar") as extractor:
            extractor.feed(tar_of({"a/b": b"x", "file": b"x"}))
            with pytest.raises(VerificationError, match="something else has that name"):
                extractor.finish()
        assert not list((tmp_path / "outside").iterdir())


def test_without_isa_l_zlib_does_the_same() -> None:
    for window_bits in (RAW, GZIP):
        packer = zlib.compressobj(wbits=window_bits)
        packed = packer.compress(bytes(1 << 20) + NOISE[:4096]) + packer.flush() + b"behind"
        inflater = Inflater(window_bits, library=zlib)
        found = b"".join(inflater.pieces(memoryview(packed)))
        assert found == bytes(1 << 20) + NOISE[:4096]
        assert (inflater.is_over, inflater.behind) == (True, b"behind")
        with pytest.raises(VerificationError):
            list(Inflater(window_bits, library=zlib).pieces(memoryview(b"\xff" * 64)))
    assert len(packed) < PIECE_BYTES


def test_without_zstd_the_package_to_install_is_named(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "sys.modules.update({'backports.zstd': None, 'compression.zstd': None})\n"
        "from nimctl.store.extract import Extractor\n"
        "from nimctl.core.errors import UsageError\n"
        "try: Extractor(Path(sys.argv[1]), 'tar.zst')\n"
        "except UsageError as error: print(error.hint)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, tmp_path], check=True, capture_output=True, text=True
    )
    assert "backports.zstd" in run.stdout


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("model.tar.gz", "tar.gz", "tar.gz"),
        ("MODEL.TGZ", "tar.gz", "tar.gz"),
        ("model.nemo", "tar", "tar"),
        ("model.nemo", "tar.gz", "tar.gz"),
        ("model.tar", "tar.zst", "tar.zst"),
        ("model.zip", "zip", "zip"),
        ("model.tzst", "tar", "tar"),
        ("checkpoint.pt", "zip", None),
        ("weights.npz", "zip", None),
        ("weights.safetensors.gz", "tar.gz", None),
        ("model.tar.xz", "tar", None),
    ],
)
def test_content_tells_the_kind_of_what_is_named_like_an_archive(
    name: str, kind: Kind, expected: Kind | None
) -> None:
    assert kind_of(name, archive_of(kind, MODEL)[:512]) == expected


def test_the_name_decides_where_the_content_says_nothing() -> None:
    assert kind_of("a.tar", b"") == "tar"
    assert kind_of("a.tar.zst", b"<html>") == "tar.zst"
    assert kind_of("a.bin", b"") is None
    assert kind_of("a.tar", b"\x50\x2a\x4d\x18\x04\0\0\0") == "tar.zst"
