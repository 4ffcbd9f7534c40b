"""Whatever archives hold, what comes out is what Python's own modules read, or a refusal."""

import gzip
import io
import random
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
from archives import archive_of, tar_of, unpack, zip_of
from hypothesis import given, settings
from hypothesis import strategies as st

from nimctl.core.errors import VerificationError
from nimctl.core.names import PathTree
from nimctl.store.extract import Kind

PART = st.text("abAB .é0", min_size=1, max_size=6) | st.just("long" * 30)
PATH = st.lists(PART, min_size=1, max_size=3).map("/".join)
NOISE = random.Random(7).randbytes(70_000)
SIZE = st.integers(0, 3) | st.integers(510, 1026) | st.just(len(NOISE))
TREE = st.dictionaries(PATH, SIZE, max_size=5)
FORMS = st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
FEW = settings(max_examples=60, deadline=None)


def filled(sizes: dict[str, int]) -> dict[str, bytes]:
    return {path: NOISE[:size] for path, size in sizes.items()}


def expected(found: dict[str, bytes]) -> dict[str, bytes] | None:
    """What should come out where the reference finds these; None if it should be refused."""
    tree, result = PathTree(), {}
    for name, content in found.items():
        path = name.removeprefix("./")
        try:
            tree.add_file(path)
        except VerificationError:
            return None
        result[path] = content
    return result


def outcome(kind: Kind, data: bytes) -> dict[str, bytes] | None:
    """What came out, None if it was refused; nothing may appear elsewhere."""
    with tempfile.TemporaryDirectory() as home:
        try:
            return unpack(Path(home, "out"), kind, data)
        except VerificationError:
            return None
        finally:
            assert [path.name for path in Path(home).iterdir()] == ["out"]


@given(TREE, FORMS)
@FEW
def test_tars_hold_what_tarfile_reads_in_them(sizes: dict[str, int], form: int) -> None:
    files = filled(sizes)
    try:
        archive = tar_of(files, form=form)
    except ValueError:  # a name is too long for ustar
        return
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        reference = {
            entry.name: content.read() for entry in tar if (content := tar.extractfile(entry))
        }
    assert outcome("tar", archive) == expected(reference)


@given(TREE, st.sampled_from(["stored", "deflated", "into a pipe"]))
@FEW
def test_zips_hold_what_zipfile_reads_in_them(sizes: dict[str, int], how: str) -> None:
    files = filled(sizes)
    method = zipfile.ZIP_STORED if how == "stored" else zipfile.ZIP_DEFLATED
    archive = zip_of(files, method=method, is_pipe=how == "into a pipe")
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        reference = {name: opened.read(name) for name in opened.namelist()}
    assert outcome("zip", archive) == expected(reference)


SOUND = {"a/b": b"content" * 40, "c" * 120: bytes(600), "d": b""}
ARCHIVES: dict[str, tuple[Kind, bytes]] = {
    "gzip": ("tar.gz", gzip.compress(tar_of(SOUND), mtime=0)),
    "zip": ("zip", archive_of("zip", SOUND)),
    "zip from a pipe": ("zip", zip_of(SOUND, is_pipe=True)),
    "stored zip": ("zip", zip_of(SOUND, method=zipfile.ZIP_STORED)),
    "zstd": ("tar.zst", archive_of("tar.zst", SOUND)),
}
MUTATIONS = st.lists(
    st.tuples(
        st.integers(0, 1 << 20),
        st.integers(0, 255),
        st.sampled_from(["replace", "insert", "delete"]),
    ),
    min_size=1,
)


def mutated(data: bytes, mutations: list[tuple[int, int, str]]) -> bytes:
    """Data with bytes replaced, inserted or deleted."""
    result = bytearray(data)
    for where, byte, what in mutations:
        place = where % len(result)
        match what:
            case "replace":
                result[place] = byte
            case "insert":
                result.insert(place, byte)
            case _:
                del result[place]
    return bytes(result)


@pytest.mark.parametrize("name", ARCHIVES)
@given(mutations=MUTATIONS)
@settings(max_examples=150, deadline=None)
def test_damage_is_refused_or_harmless_where_there_are_checksums(
    name: str, mutations: list[tuple[int, int, str]]
) -> None:
    kind, archive = ARCHIVES[name]
    assert outcome(kind, mutated(archive, mutations)) in (None, SOUND)


@given(mutations=MUTATIONS, form=FORMS)
@settings(max_examples=150, deadline=None)
def test_damage_in_a_tar_is_refused_or_in_what_no_checksum_covers(
    mutations: list[tuple[int, int, str]], form: int
) -> None:
    files = SOUND if form != tarfile.USTAR_FORMAT else {"a/b": SOUND["a/b"], "d": b""}
    found = outcome("tar", mutated(tar_of(files, form=form), mutations))
    assert found is None or found == expected(found)


def test_a_wrong_bit_anywhere_in_a_zip_is_refused_or_harmless() -> None:
    kind, archive = ARCHIVES["zip from a pipe"]
    for place in range(len(archive)):
        damaged = bytearray(archive)
        damaged[place] ^= 1 << place % 8
        assert outcome(kind, bytes(damaged)) in (None, SOUND)


@given(st.sampled_from(["tar", "tar.gz", "tar.zst", "zip"]), st.binary(max_size=2000))
@FEW
def test_noise_is_refused(kind: Kind, noise: bytes) -> None:
    prefix = {"tar": b"", "tar.gz": b"\x1f\x8b\x08\0", "tar.zst": b"\x28\xb5\x2f\xfd"}
    assert outcome(kind, prefix.get(kind, b"PK\x03\x04") + noise) is None


def test_the_checksum_of_zstd_is_compared() -> None:
    kind, archive = ARCHIVES["zstd"]
    assert outcome(kind, archive) == SOUND
    assert outcome(kind, archive[:-1] + bytes([archive[-1] ^ 1])) is None
