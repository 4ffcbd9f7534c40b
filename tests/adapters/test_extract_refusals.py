"""Archives that are hostile, broken or not supported are refused, and touch nothing else."""

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import (
    archive_of,
    files_below,
    plain,
    special,
    tar_of,
    tar_of_entries,
    unpack,
    zip_of,
    zstd_of,
)

from nimctl.core.errors import VerificationError
from nimctl.store.extract import ExtractLimits, Extractor, Kind

UNSAFE_NAMES = [
    *("/etc/passwd", "//x", "../x", "a/../../x", "a/../b", "..", "./../x", ".//x", "././x", "a//b"),
    *("a\\b", "C:x", "x:stream", "a\nb", "a\x1b[2J", "a.", "a ", "a./b", "CON", "nul.txt", ""),
    *("x" * 256, "/".join(["x" * 200] * 21)),
]
PAIRS = [
    ("README.md", "readme.md"),
    ("a", "a"),
    ("a", "a/b"),
    ("a/b", "a"),
    ("A/B", "a/b/c"),
    ("caf\u00e9", "cafe\u0301"),
    ("./a", "a"),
]


def refusal(home: Path, kind: Kind, data: bytes, limits: ExtractLimits | None = None) -> str:
    """Why an archive is refused; fails if it is not, or if something appears elsewhere."""
    home.mkdir(exist_ok=True)
    with pytest.raises(VerificationError) as caught:
        unpack(home / "out", kind, data, limits=limits)
    assert [path.name for path in home.iterdir()] == ["out"]
    files_below(home / "out")
    error = caught.value
    assert error.message.isprintable()
    return f"{error.message}: {error.cause}"


@pytest.mark.parametrize("name", UNSAFE_NAMES)
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_unsafe_name_in_a_tar_is_refused(tmp_path: Path, name: str, form: int) -> None:
    for info in (plain(name, 1), special(name, tarfile.DIRTYPE)):
        archive = tar_of_entries([(info, b"x")], form=form)
        assert "refused" in refusal(tmp_path / info.type.hex(), "tar", archive)


@pytest.mark.parametrize("name", ["a\0b", *filter(None, UNSAFE_NAMES)])
def test_an_unsafe_name_in_a_zip_is_refused(tmp_path: Path, name: str) -> None:
    for is_pipe in (True, False):
        # Python's module would cut the name at a NUL.
        harmless = name.replace("\0", "0")
        archive = zip_of({harmless: b"x"}, is_pipe=is_pipe)
        archive = archive.replace(harmless.encode(), name.encode())
        assert "refused" in refusal(tmp_path / str(is_pipe), "zip", archive)


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path, kind: Kind) -> None:
    archive = {"tar": tar_of({"abc": b"x"}, form=tarfile.USTAR_FORMAT), "zip": zip_of({"abc": b""})}
    if kind == "tar":
        data = with_header(archive["tar"], name=b"a\xff\xfe")
    else:
        data = archive["zip"].replace(b"abc", b"a\xff\xfe")
    assert "not UTF-8" in refusal(tmp_path, kind, data)


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("pair", PAIRS)
def test_names_that_cannot_lie_side_by_side_are_refused(
    tmp_path: Path, kind: Kind, pair: tuple[str, str]
) -> None:
    entries = [(plain(name, 1), b"x") for name in pair]
    archive = tar_of_entries(entries) if kind == "tar" else zip_of(dict.fromkeys(pair, b"x"))
    if kind == "tar" or pair[0] != pair[1]:
        refusal(tmp_path, kind, archive)


@pytest.mark.parametrize(
    ("info", "why"),
    [
        (special("a", tarfile.SYMTYPE, "/etc/passwd"), "symbolic link"),
        (special("a", tarfile.SYMTYPE, "x" * 200), "symbolic link"),
        (special("a", tarfile.LNKTYPE, "b"), "hard link"),
        (special("a", tarfile.CHRTYPE), "device"),
        (special("a", tarfile.BLKTYPE), "device"),
        (special("a", tarfile.FIFOTYPE), "FIFO"),
        (special("a", tarfile.GNUTYPE_SPARSE), "sparse"),
        (special("a", b"V"), "type is 'V'"),
        (special("a", b"\xff"), "type"),
    ],
)
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_is_no_file_or_directory_is_refused_by_name(
    tmp_path: Path, info: tarfile.TarInfo, why: str, form: int
) -> None:
    archive = tar_of_entries([(plain("b", 1), b"x"), (info, b"")], form=form)
    told = refusal(tmp_path, "tar", archive)
    assert "'a'" in told
    assert why in told


def with_header(tar: bytes, *, size: bytes = b"", name: bytes = b"", kind: bytes = b"") -> bytes:
    """The same tar with its first header changed, checksum included."""
    block = bytearray(tar[:512])
    for start, field in ((124, size), (0, name), (156, kind)):
        block[start : start + len(field)] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + tar[512:]


def record(key: bytes, value: bytes) -> bytes:
    """One record of an extended header; its length counts its own digits."""
    rest = b" " + key + b"=" + value + b"\n"
    return b"%d" % (len(rest) + (1 if len(rest) < 9 else 2)) + rest


def pax(records: bytes, kind: bytes = b"x") -> bytes:
    """An extended header with these bytes."""
    header = special("pax", kind)
    header.size = len(records)
    return header.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % 512)


ONE = tar_of({"a": b"x"})
LONG = tar_of({"n" * 120: b"x"}, form=tarfile.GNU_FORMAT)
SPARSE = record(b"GNU.sparse.major", b"1")
TARS: dict[str, tuple[bytes, str]] = {
    "not a tar": (b"<html>" * 200, "no number"),
    "wrong checksum": (b"b" + ONE[1:], "checksum is wrong"),
    "size is no number": (with_header(ONE, size=b"0o17_1+   \0\0"), "no number"),
    "size is negative": (with_header(ONE, size=b"\xff" * 12), "no number"),
    "size is huge": (with_header(ONE, size=b"\x80" + b"\xff" * 11), "more than 9 bytes"),
    "directory with content": (with_header(ONE, kind=b"5"), "directory with content"),
    "file with a slash": (with_header(ONE, name=b"a/\0"), "directory with content"),
    "single zero block": (ONE[:1024] + bytes(512) + ONE, "single block"),
    "second archive behind": (ONE + ONE, "follows the end"),
    "garbage behind": (ONE + b"x", "follows the end"),
    "no end": (ONE[:1024], "too early"),
    "half an end": (ONE[:1536], "too early"),
    "long name only": (LONG[:1024] + bytes(1024), "has no entry"),
    "extended header only": (pax(record(b"path", b"b")) + bytes(1024), "has no entry"),
    "both": (LONG[:1024] + pax(record(b"path", b"b")) + LONG[1024:], "both"),
    "huge extended header": (with_header(pax(b""), size=b"%011o\0" % (1 << 30)), "1073741824"),
    "record without length": (pax(b"path=b\n") + ONE, "record is malformed"),
    "record with a long length": (pax(b"99 path=b\n") + ONE, "record is malformed"),
    "record with a short length": (pax(b"2 path=b\n") + ONE, "record is malformed"),
    "record with a zero length": (pax(b"0 path=b\n") + ONE, "record is malformed"),
    "record without value": (pax(b"7 path\n") + ONE, "no key or no value"),
    "extended path is unsafe": (pax(record(b"path", b"../b")) + ONE, "`..`"),
    "extended path is empty": (pax(record(b"path", b"")) + ONE, "empty"),
    "extended path has a NUL": (pax(record(b"path", b"a\0b")) + ONE, "control"),
    "extended size is no number": (pax(record(b"size", b"-1")) + ONE, "no number"),
    "extended size is wrong": (pax(record(b"size", b"9000000")) + ONE, "more than 9 bytes"),
    "extended sparse file": (pax(SPARSE) + ONE, "sparse"),
    "global path": (pax(record(b"path", b"b"), b"g") + ONE, "global"),
    "global size": (pax(record(b"size", b"1"), b"g") + ONE, "global"),
}


@pytest.mark.parametrize("name", TARS)
def test_a_malformed_tar_is_refused(tmp_path: Path, name: str) -> None:
    data, why = TARS[name]
    assert why in refusal(tmp_path, "tar", data, ExtractLimits(max_total_bytes=9))


def test_what_extended_headers_tell_besides_has_no_effect(tmp_path: Path) -> None:
    archive = pax(record(b"comment", b"abc"), b"g") + pax(record(b"mtime", b"1.5")) + ONE
    assert unpack(tmp_path / "out", "tar", archive) == {"a": b"x"}


def test_an_extended_size_goes_before_the_size_in_the_header(tmp_path: Path) -> None:
    archive = pax(record(b"size", b"1")) + with_header(ONE, size=b"0" * 11 + b"\0")
    assert unpack(tmp_path / "out", "tar", archive) == {"a": b"x"}


def gz(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


COMPRESSED: dict[str, tuple[Kind, bytes]] = {
    "not gzip": ("tar.gz", b"<html>" * 200),
    "not zstd": ("tar.zst", b"<html>" * 200),
    "gzip of no tar": ("tar.gz", gz(b"<html>" * 200)),
    "gzip with a wrong checksum": ("tar.gz", gz(ONE)[:-8] + b"wrong!!!"),
    "gzip with a wrong size": ("tar.gz", gz(ONE)[:-4] + b"long"),
    "gzip with garbage behind": ("tar.gz", gz(ONE) + b"garbage"),
    "gzip with another archive behind": ("tar.gz", gz(ONE) + gz(ONE)),
    "gzip in gzip": ("tar.gz", gz(gz(ONE))),
    "zstd with garbage behind": ("tar.zst", zstd_of(ONE) + b"garbage"),
    "zstd with a needless window": ("tar.zst", b"\x28\xb5\x2f\xfd\x00\xff" + bytes(100)),
    "nothing as gzip": ("tar.gz", b""),
    "nothing as zstd": ("tar.zst", b""),
    "nothing as tar": ("tar", b""),
    "nothing as zip": ("zip", b""),
    "gzip padding only": ("tar.gz", bytes(1024)),
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_malformed_stream_is_refused(tmp_path: Path, name: str) -> None:
    refusal(tmp_path, *COMPRESSED[name])


def zip_entry(name: str = "a", content: bytes = b"x", **fields: int) -> bytes:
    """A zip of one entry, as Python writes it with these fields of its ZipInfo."""
    info = zipfile.ZipInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(info, content)
    return stream.getvalue()


STORED = zip_entry("a", b"content")
DEFLATED = zip_of({"a": b"content" * 99})
CENTRAL = STORED.index(b"PK\x01\x02")


def patched(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


# Offsets: 6 flags, 8 method, 14 crc, 18 and 22 sizes in the local header; two more in the central.
ZIPS: dict[str, tuple[bytes, str]] = {
    "not a zip": (b"<html>" * 200, "no zip"),
    "symbolic link": (zip_entry("a", b"/etc/passwd", external_attr=0o120777 << 16), "link"),
    "device": (zip_entry("a", b"", external_attr=0o020777 << 16), "special"),
    "directory without a slash": (zip_entry("a", b"", external_attr=0o040755 << 16), "special"),
    "directory with content": (zip_entry("a/", b"x"), "directory with content"),
    "encrypted": (patched(STORED, 6, b"\x01\0"), "encrypted"),
    "bzip2": (patched(STORED, 8, b"\x0c\0"), "method 12"),
    "stored into a pipe": (zip_of({"a": b"x"}, method=0, is_pipe=True), "behind"),
    "wrong checksum": (patched(STORED, 14, b"oops"), "checksum"),
    "wrong content": (patched(STORED, 31, b"oops"), "checksum"),
    "smaller than stored": (patched(STORED, 18, b"\x06"), "malformed"),
    "larger than its content": (patched(DEFLATED, 22, b"\xff\xff"), "shorter"),
    "smaller than its content": (patched(DEFLATED, 22, b"\x05\0"), "longer"),
    "deflated into less than it takes": (patched(DEFLATED, 18, b"\x05"), "longer"),
    "no deflate": (patched(DEFLATED, 31, b"\xff" * 8), "deflate"),
    "something before": (b"MZ" + STORED, "no zip"),
    "something behind": (STORED + b"x", "follows"),
    "a second archive": (STORED + STORED, "follows"),
    "another name in the directory": (patched(STORED, CENTRAL + 46, b"b"), "tells something else"),
    "another checksum there": (patched(STORED, CENTRAL + 16, b"oops"), "tells something else"),
    "another offset there": (patched(STORED, CENTRAL + 42, b"\x01"), "tells something else"),
    "no directory": (STORED[:CENTRAL] + STORED[-22:], "leaves an entry out"),
    "a directory twice": (STORED[:-22] + STORED[CENTRAL:], "something else"),
    "a wrong count": (patched(STORED, len(STORED) - 14, b"\x02\0\x02\0"), "wrong about"),
    "a wrong size of the directory": (patched(STORED, len(STORED) - 10, b"\x01"), "wrong about"),
    "a wrong offset of the directory": (patched(STORED, len(STORED) - 6, b"\x01"), "wrong about"),
    "several disks": (patched(STORED, len(STORED) - 18, b"\x01\0"), "several parts"),
    "zip64 without its field": (patched(STORED, 18, b"\xff" * 8), "zip64"),
    "wrong descriptor": (
        zip_of({"a": b"x" * 99}, is_pipe=True).replace(b"PK\x07\x08", b"PK\x07\x09"),
        "checksum",
    ),
    "unknown record": (STORED[:-22] + b"PK\x05\x05" + STORED[-22:], "unknown"),
}


@pytest.mark.parametrize("name", ZIPS)
def test_a_malformed_zip_is_refused(tmp_path: Path, name: str) -> None:
    data, why = ZIPS[name]
    assert why in refusal(tmp_path, "zip", data)


def test_a_zip64_record_must_be_where_its_locator_says(tmp_path: Path) -> None:
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 53, CENTRAL)
    record = record.replace(struct.pack("<Q", 53), struct.pack("<Q", len(STORED) - 22 - CENTRAL))
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    for shift in (0, 1):
        locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(STORED) - 22 + shift, 1)
        archive = STORED[:-22] + record + locator + end
        if shift:
            assert "locator" in refusal(tmp_path / "wrong", "zip", archive)
        else:
            assert unpack(tmp_path / "right", "zip", archive) == {"a": b"content"}
    other = patched(STORED[:-22] + record + locator, len(STORED) - 22 + 24, b"\x07")
    assert "locator" in refusal(tmp_path / "other", "zip", other + end)


MIB = 1 << 20
BOMBS: dict[str, tuple[Kind, Callable[[], bytes], ExtractLimits, str]] = {
    "gzip": ("tar.gz", lambda: gz(tar_of({"a": bytes(40 * MIB)})), ExtractLimits(), "200 times"),
    "zstd": ("tar.zst", lambda: zstd_of(bytes(40 * MIB)), ExtractLimits(), "200 times"),
    "zip": ("zip", lambda: zip_of({"a": bytes(40 * MIB)}), ExtractLimits(), "200 times"),
    "size in a tar": (
        "tar",
        lambda: with_header(ONE, size=b"%011o\0" % (1 << 32))[:512],
        ExtractLimits(max_total_bytes=MIB),
        "more than 1048576 bytes",
    ),
    "size in a zip": (
        "zip",
        lambda: zip_of({"a": bytes(MIB), "b": b"x"}, is_pipe=True),
        ExtractLimits(max_total_bytes=MIB),
        "more than 1048576 bytes",
    ),
    "count": (
        "tar",
        lambda: tar_of({str(number): b"" for number in range(101)}),
        ExtractLimits(max_members=100),
        "more than 100 entries",
    ),
    "directories": (
        "tar",
        lambda: tar_of({"/".join("a" * 101): b""}),
        ExtractLimits(max_members=99),
        "too many directories",
    ),
    "directories that differ in case": (
        "tar",
        lambda: tar_of({f"{'Aa'[n % 2]}/{'Bb'[n // 2]}/{n}": b"" for n in range(4)}),
        ExtractLimits(max_members=5),
        "too many directories",
    ),
    "name": ("zip", lambda: zip_of({"n" * 99: b""}), ExtractLimits(max_name_bytes=98), "98 bytes"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_does_not_go_off(tmp_path: Path, name: str) -> None:
    kind, make, limits, why = BOMBS[name]
    assert why in refusal(tmp_path, kind, make(), limits)
    written = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert written <= max(limits.max_total_bytes or 0, limits.ratio_free_bytes)


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_what_is_highly_compressible_but_small_is_no_bomb(tmp_path: Path, kind: Kind) -> None:
    files = {"a": bytes(10 * MIB)}
    assert unpack(tmp_path / "out", kind, archive_of(kind, files)) == files


def test_a_limit_is_kept_before_the_archive_has_arrived(tmp_path: Path) -> None:
    with (
        Extractor(tmp_path, "tar", limits=ExtractLimits(max_total_bytes=10)) as extractor,
        pytest.raises(VerificationError),
    ):
        extractor.feed(tar_of({"a": bytes(11)})[:512])
    assert not files_below(tmp_path)
