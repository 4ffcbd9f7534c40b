"""Pickles in archives and arrays: found in place, whatever the archive says."""

import gzip
import io
import random
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from formats import (
    ATTACK,
    DATA,
    HARMLESS,
    IMPORTS_OS,
    NOTE,
    dangers,
    inspect,
    state_dict,
    tar_of,
    torch_zip,
    zip_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from nimctl.core.errors import VerificationError
from nimctl.store.formats import ScanLimits

CLEAN_ZIP = torch_zip(state_dict())
EVIL_ZIP = torch_zip(state_dict("os system"))
YAML = b"cfg:\n  target: nemo\n"  # c is the opcode GLOBAL
END_BYTES = 22


def nemo(weights: bytes) -> dict[str, bytes]:
    return {"./model_config.yaml": YAML, "./model_weights.ckpt": weights}


@pytest.mark.parametrize("folder", ["archive", "new", "a b/é"])
def test_a_torch_archive_is_scanned_whatever_its_folder_is_called(
    tmp_path: Path, folder: str
) -> None:
    (note,) = inspect(tmp_path, "pytorch_model.bin", torch_zip(state_dict(), folder))
    assert (note.severity, note.message) == ("note", NOTE)
    evil = torch_zip(state_dict("os system"), folder)
    assert dangers(tmp_path, "pytorch_model.bin", evil) == [f"{IMPORTS_OS}, in {folder}/data.pkl"]


@pytest.mark.parametrize("member", ["archive/data.PKL", "constants.pkl", "x/deep/er.pickle"])
def test_every_member_that_is_called_a_pickle_is_one(tmp_path: Path, member: str) -> None:
    assert dangers(tmp_path, "m.pt", zip_of({member: ATTACK})) == [f"{IMPORTS_OS}, in {member}"]
    assert dangers(tmp_path, "m.pt", zip_of({member: b"hello"})) == [
        f"cannot be read as a pickle: it remembers nothing as 101, in {member}"
    ]


def test_a_member_with_another_name_is_scanned_if_it_begins_like_a_pickle(tmp_path: Path) -> None:
    evil = zip_of({"archive/data/0": b"\x80\x02" + ATTACK})
    assert dangers(tmp_path, "m.pt", evil) == [f"{IMPORTS_OS}, in archive/data/0"]


def test_tensors_that_begin_like_a_pickle_are_no_danger(tmp_path: Path) -> None:
    content = zip_of({"archive/data.pkl": HARMLESS, "archive/data/0": b"\x80\x02" + bytes(62)})
    (note,) = inspect(tmp_path, "m.pt", content)
    assert note.severity == "note"


def test_compressed_members_are_scanned(tmp_path: Path) -> None:
    files = {"archive/data.pkl": state_dict("os system"), "archive/data/0": bytes(9999)}
    content = zip_of(files, zipfile.ZIP_DEFLATED)
    assert dangers(tmp_path, "m.pt", content) == [f"{IMPORTS_OS}, in archive/data.pkl"]


def test_of_two_members_with_one_name_both_are_scanned(tmp_path: Path) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("archive/data.pkl", ATTACK)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("archive/data.pkl", HARMLESS)
    assert IMPORTS_OS in dangers(tmp_path, "m.pt", target.getvalue())[0]


def spliced(archive: bytes, at: int, inserted: bytes) -> bytes:
    return archive[:at] + inserted + archive[at:]


def two_directories() -> bytes:
    """A clean archive, behind whose end lies the directory of another one before it."""
    return b"PK\x03\x04" + EVIL_ZIP[4:] + CLEAN_ZIP


def other_name() -> bytes:
    """The directory says data.txt where the member itself says data.pkl."""
    at = EVIL_ZIP.rindex(b"archive/data.pkl")
    return EVIL_ZIP[:at] + b"archive/data.txt" + EVIL_ZIP[at + 16 :]


def before_first() -> bytes:
    """Something stands before the first member, and the directory knows where members are."""
    target = io.BytesIO(b"PK\x03\x04")
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr("archive/data.pkl", HARMLESS)
    return target.getvalue()


def between_members() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("archive/data.pkl", HARMLESS)
        archive.start_dir = target.write(b"hidden") + archive.start_dir
        archive.writestr("archive/version", b"3")
    return target.getvalue()


def with_method(method: int) -> bytes:
    at, central = 8, CLEAN_ZIP.index(b"PK\x01\x02") + 10
    field = struct.pack("<H", method)
    changed = CLEAN_ZIP[:at] + field + CLEAN_ZIP[at + 2 :]
    return changed[:central] + field + changed[central + 2 :]


@pytest.mark.parametrize(
    ("case", "content", "says"),
    [
        ("cut off", CLEAN_ZIP[:-1], "something follows its end"),
        ("only a signature", b"PK\x03\x04", "something follows its end"),
        ("bytes behind", CLEAN_ZIP + b"x", "something follows its end"),
        ("a comment", CLEAN_ZIP[:-2] + b"\x01\0x", "something follows its end"),
        ("two archives", two_directories(), "does not reach to its end"),
        ("a prefix", before_first(), "before its first member"),
        ("between members", between_members(), "something stands between its members"),
        ("a NUL", CLEAN_ZIP.replace(b"data.pkl", b"x.npy\0.t"), "contradicts its directory"),
        ("a gap", spliced(CLEAN_ZIP, CLEAN_ZIP.index(b"PK\x01\x02"), b"x" * 30), "its directory"),
        ("another name", other_name(), "contradicts its directory"),
        ("another method", with_method(14), "method 14"),
        ("empty", b"PK\x03\x04" + zip_of({}), "its directory"),
    ],
)
def test_an_archive_that_programs_may_read_in_two_ways_is_a_danger(
    tmp_path: Path, case: str, content: bytes, says: str
) -> None:
    (found,) = dangers(tmp_path, "m.pt", content)
    assert found.startswith("cannot be read as a zip archive: "), case
    assert says in found, case


def test_a_damaged_archive_with_another_name_is_nobodys_weights(tmp_path: Path) -> None:
    assert inspect(tmp_path, "docs.zip", CLEAN_ZIP + b"x") == ()
    assert dangers(tmp_path, "docs.zip", EVIL_ZIP) == [f"{IMPORTS_OS}, in archive/data.pkl"]


@pytest.mark.parametrize("mode", ["w:", "w:gz"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_nemo_archives_are_scanned_in_place(tmp_path: Path, mode: str, form: int) -> None:
    long = "d" * 90 + "/" + "e" * 50 + ".ckpt"
    (note,) = inspect(tmp_path, "m.nemo", tar_of({**nemo(CLEAN_ZIP), long: HARMLESS}, mode, form))
    assert note.severity == "note"
    evil = tar_of({long: ATTACK, **nemo(EVIL_ZIP)}, mode, form)
    assert dangers(tmp_path, "m.nemo", evil) == [
        f"{IMPORTS_OS}, in {long}",
        f"{IMPORTS_OS}, in model_weights.ckpt/archive/data.pkl",
    ]


def test_a_malformed_safetensors_file_in_an_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VerificationError) as caught:
        inspect(tmp_path, "m.nemo", tar_of({"a.safetensors": b"\xff" * 16}))
    assert "m.nemo/a.safetensors" in caught.value.message


def header(name: str, size: int = 0, type_flag: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, type_flag
    return member.tobuf(tarfile.GNU_FORMAT)


END = bytes(1024)
PAX_PATH = b"19 path=model.ckpt\n"


def pax(type_flag: bytes, record: bytes) -> bytes:
    return header("x", len(record), type_flag) + record.ljust(512, b"\0")


@pytest.mark.parametrize(
    ("case", "content", "says"),
    [
        ("no archive", b"hello", "it is cut off"),
        ("cut off", tar_of(nemo(CLEAN_ZIP))[:700], "it is cut off"),
        ("no end", header("a"), "it is cut off"),
        ("a directory with a size", header("a/", 512, b"\0") + header("b") + END, "has a size"),
        ("a link with a size", header("a", 512, b"2") + header("b") + END, "is no file"),
        ("a sparse file", header("a", 0, b"S") + END, "the type 'S'"),
        ("a huge size", header("a", 2**70) + END, "a size is"),
        ("a huge header", header("a", 2**30, b"x") + END, "1,073,741,824 bytes"),
        ("two names", pax(b"x", PAX_PATH) * 2 + header("a") + END, "two extended headers"),
        ("a name for all", pax(b"g", PAX_PATH) + header("a") + END, "a header for all entries"),
        ("a wrong checksum", header("a").replace(b"a", b"b", 1) + END, "checksum"),
        ("torch's of 2017", tar_of({"pickle": HARMLESS, "storages": HARMLESS}), "2017"),
    ],
)
def test_a_nemo_file_that_programs_may_read_in_two_ways_is_a_danger(
    tmp_path: Path, case: str, content: bytes, says: str
) -> None:
    (found,) = dangers(tmp_path, "m.nemo", content)
    assert found.startswith("cannot be read as a tar archive: "), case
    assert says in found, case


def test_torch_archives_of_2017_are_a_danger_under_any_name(tmp_path: Path) -> None:
    found = dangers(tmp_path, "m.pt", tar_of({"pickle": ATTACK, "storages": HARMLESS}))
    assert found[0] == f"{IMPORTS_OS}, in pickle"
    assert "2017" in found[1]


def test_what_only_tarfile_takes_for_a_tar_archive_is_a_danger(tmp_path: Path) -> None:
    block = bytearray(header("pickle", len(ATTACK)))
    block[148:156] = b"0o" + block[149:154] + b"\0"
    content = bytes(block) + ATTACK.ljust(512, b"\0") + END
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        assert archive.getnames() == ["pickle"]
    (found,) = dangers(tmp_path, "m.pt", content)
    assert found.startswith("cannot be read as a tar archive: ")


def test_a_tar_archive_that_begins_like_a_pickle_is_walked_as_both(tmp_path: Path) -> None:
    content = tar_of({"cos\nsystem\n(S'ls'\ntR.": b""})
    assert dangers(tmp_path, "m.pt", content) == [IMPORTS_OS]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (gzip.compress(tar_of(nemo(CLEAN_ZIP)), mtime=0)[:-30], "it is cut off"),
        (gzip.compress(b"hello", mtime=0), "it is cut off"),
        (b"\x1f\x8b\x08\0" + b"\xff" * 64, "deflate: "),
    ],
)
def test_a_damaged_compressed_nemo_file_is_a_danger(
    tmp_path: Path, content: bytes, says: str
) -> None:
    (found,) = dangers(tmp_path, "m.nemo", content)
    assert "cannot be read as a" in found
    assert says in found


def test_a_compressed_nemo_file_may_have_several_members_and_zeros_behind(tmp_path: Path) -> None:
    plain = tar_of(nemo(EVIL_ZIP))
    content = gzip.compress(plain[:700], mtime=0) + gzip.compress(plain[700:], mtime=0) + bytes(64)
    assert dangers(tmp_path, "m.nemo", content) == [
        f"{IMPORTS_OS}, in model_weights.ckpt/archive/data.pkl"
    ]


def test_a_compressed_nemo_file_is_inflated_three_times_at_most(tmp_path: Path) -> None:
    noise = random.Random(1)
    tensors = {f"a/data/{number}": noise.randbytes(150_000) for number in range(10)}
    content = gzip.compress(tar_of(nemo(zip_of({"a/data.pkl": HARMLESS, **tensors}))), mtime=0)
    limits = ScanLimits(inflation_ratio=3.1, inflation_free_bytes=0)
    (note,) = inspect(tmp_path, "m.nemo", content, limits)
    assert note.severity == "note"


LIMITS = ScanLimits(inflation_ratio=10, inflation_free_bytes=1 << 20)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.nemo", gzip.compress(tar_of({"zeros": bytes(4 << 20)}), mtime=0)),
        ("m.pt", zip_of({"a.pkl": b"B\x00\x00\x40\x00" + bytes(4 << 20)}, zipfile.ZIP_DEFLATED)),
        # Also where it is a member that nobody would load.
        ("m.pt", zip_of({"a": b"\x80\x02B\0\0\x40\0" + bytes(4 << 20)}, zipfile.ZIP_DEFLATED)),
    ],
)
def test_a_bomb_is_a_danger_long_before_it_is_unpacked(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (found,) = dangers(tmp_path, name, content, LIMITS)
    assert "inflates to more than 10 times its size" in found


def test_too_many_members_are_a_danger(tmp_path: Path) -> None:
    files = {f"{number}": b"" for number in range(11)}
    for name, content in (("m.pt", zip_of(files)), ("m.nemo", tar_of(files))):
        (found,) = dangers(tmp_path, name, content, ScanLimits(members=10))
        assert "more than 10 members" in found


def test_a_limit_holds_in_members_of_any_name(tmp_path: Path) -> None:
    content = zip_of({"archive/data.pkl": HARMLESS, "x": zip_of({"a": b"", "b": b"", "c": b""})})
    (found,) = dangers(tmp_path, "m.pt", content, ScanLimits(members=4))
    assert found == "cannot be read as a zip archive: it has more than 4 members, in x"


def test_archives_in_archives_are_scanned_to_a_depth(tmp_path: Path) -> None:
    content = zip_of({"data.pkl": ATTACK})
    for depth in range(2):
        content = zip_of({f"{depth}.pt": content})
    assert dangers(tmp_path, "m.pt", content) == [f"{IMPORTS_OS}, in 1.pt/0.pt/data.pkl"]
    (found,) = dangers(tmp_path, "m.pt", zip_of({"2.pt": content}))
    assert "more than 3 deep" in found


def array_of(values: object, *, pickled: bool = False) -> bytes:
    target = io.BytesIO()
    np.save(target, np.array(values), allow_pickle=pickled)
    return target.getvalue()


class Anything:
    """Something that an array of objects may hold."""


@pytest.mark.parametrize("name", ["a.npy", "a.bin", "a"])
def test_arrays_of_objects_are_pickles(tmp_path: Path, name: str) -> None:
    plain = np.array([{"a": 1}], dtype=object)
    (note,) = inspect(tmp_path, name, array_of(plain, pickled=True))
    assert note.severity == "note"
    evil = np.array([Anything()], dtype=object)
    found = dangers(tmp_path, name, array_of(evil, pickled=True))
    assert found == [f"imports {__name__}.Anything"]
    version_2 = b"\x93NUMPY\x02\0" + struct.pack("<I", 40) + b"{'descr': '\\x4f'}".ljust(40)
    assert dangers(tmp_path, name, version_2 + ATTACK) == [IMPORTS_OS]


@pytest.mark.parametrize("dtype", ["<f4", "|b1", "<U3", "<M8[ns]", "<c16"])
def test_arrays_of_numbers_give_nothing(tmp_path: Path, dtype: str) -> None:
    for shape in ((), (3,), (2, 3)):
        target = io.BytesIO()
        np.save(target, np.zeros(shape, dtype))
        # Whatever the values are, they are no pickle.
        content = target.getvalue().removesuffix(bytes(len(ATTACK))) + ATTACK
        assert inspect(tmp_path, "a.npy", content) == ()


def test_arrays_in_a_zip_archive_are_scanned(tmp_path: Path) -> None:
    target = io.BytesIO()
    np.savez(target, a=np.ones(3), o=np.array([Anything()], dtype=object))
    assert dangers(tmp_path, "a.npz", target.getvalue()) == [
        f"imports {__name__}.Anything, in o.npy"
    ]


def test_a_header_of_an_array_that_is_too_long_is_a_danger(tmp_path: Path) -> None:
    content = b"\x93NUMPY\x02\0" + b"\xff" * 4 + bytes(64)
    (found,) = dangers(tmp_path, "a.npy", content)
    assert found.startswith("cannot be read as an array: its header has 4,294,967,295 bytes")


ARCHIVES = {
    "new.pt": (DATA / "new.pt").read_bytes(),
    "evil.pt": EVIL_ZIP,
    "deflated.pt": zip_of({"a/data.pkl": ATTACK}, zipfile.ZIP_DEFLATED),
    "m.nemo": tar_of(nemo(EVIL_ZIP)),
    "z.nemo": gzip.compress(tar_of(nemo(EVIL_ZIP)), mtime=0),
}


def attacks_found_by_python(content: bytes) -> bool:
    """Whether `zipfile` gives a pickle out of an archive that is one of ours, unchanged."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            read = [archive.read(name) for name in archive.namelist() if name.endswith(".pkl")]
    except Exception:  # noqa: BLE001 - it raises many kinds on damaged archives
        return False
    return any(one in (ATTACK, state_dict("os system")) for one in read)


@given(st.sampled_from(sorted(ARCHIVES)), st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_is_changed_in_an_archive_its_attack_is_not_missed(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    content = bytearray(ARCHIVES[name])
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    changed = bytes(content[:cut])
    found = inspect(tmp_path_factory.getbasetemp(), name, changed)
    if name.endswith(".pt") and attacks_found_by_python(changed):
        assert found
        assert found[0].severity == "danger"
