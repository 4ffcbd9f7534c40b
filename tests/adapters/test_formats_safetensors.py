"""The headers of safetensors files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from formats import inspect
from hypothesis import given
from hypothesis import strategies as st

from nimctl.core.errors import VerificationError
from nimctl.core.safetensors import parse_header
from nimctl.store.formats import inspect_file

Header = dict[str, Any]
NAME = "shards/model.safetensors"
FIRST, SECOND = "model.first", "model.second"


def good() -> Header:
    return {
        "__metadata__": {"format": "pt"},
        SECOND: {"dtype": "F4", "shape": [3, 2], "data_offsets": [8, 11]},
        FIRST: {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]},
        "scalar": {"dtype": "U8", "shape": [], "data_offsets": [11, 12]},
        "empty": {"dtype": "F32", "shape": [0, 7], "data_offsets": [8, 8]},
    }


DATA_BYTES = 12


def file_of(header: bytes, data_bytes: int = DATA_BYTES) -> bytes:
    return len(header).to_bytes(8, "little") + header + bytes(data_bytes)


def refusal(directory: Path, content: bytes) -> str:
    with pytest.raises(VerificationError) as caught:
        inspect(directory, NAME, content)
    assert caught.value.message == f"{NAME} is malformed"
    return str(caught.value.cause)


def test_a_file_that_keeps_to_the_format_gives_no_finding(tmp_path: Path) -> None:
    assert inspect(tmp_path, NAME, file_of(json.dumps(good()).encode() + b"   ")) == ()


def test_a_file_without_tensors_gives_no_finding(tmp_path: Path) -> None:
    assert inspect(tmp_path, NAME, file_of(b"{}", 0)) == ()


def test_only_the_header_is_read(tmp_path: Path) -> None:
    size = 1 << 40
    tensor = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
    content = file_of(json.dumps({"w": tensor}).encode(), 0)
    path = tmp_path / "sparse"
    path.write_bytes(content)
    with path.open("r+b") as file:
        file.truncate(len(content) + size)
    assert inspect_file(path, NAME) == ()


def change(tensor: str, **fields: object) -> Callable[[Header], None]:
    return lambda header: header[tensor].update(fields)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (change(FIRST, dtype="STR"), f"{FIRST} has the unknown data type STR"),
        (change(FIRST, dtype=7), f"{FIRST}: Expected `str`"),
        (change(FIRST, shape=[2, 3]), f"{FIRST} takes 8 bytes, but is BF16 of [2, 3]"),
        (change(FIRST, shape=[-2, -2]), f"{FIRST}: Expected `int` >= 0"),
        (change(FIRST, shape=[2.0, 2]), f"{FIRST}: Expected `int`, got `float`"),
        (change("empty", shape=[2**62] * 9 + [0]), "empty takes 0 bytes"),
        (change(FIRST, data_offsets=[0]), f"{FIRST}: Expected `array`"),
        (change(FIRST, data_offsets=[8, 0]), f"{FIRST} takes -8 bytes"),
        (change(FIRST, data_offsets=[1, 9]), f"{FIRST} starts at 327, expected at 326"),
        (change(SECOND, data_offsets=[7, 10]), f"{SECOND} starts at 333, expected at 334"),
        (change(SECOND, shape=[5], data_offsets=[8, 11]), f"{SECOND} takes 3 bytes"),
        (change(FIRST, dtype="\x1b[2J"), r"unknown data type '\x1b[2J'"),
        (lambda header: header.pop("scalar"), "end at byte 271, the file at 272"),
        (lambda header: header[FIRST].pop("dtype"), f"{FIRST}: Object missing"),
        (lambda header: header.update({FIRST: []}), f"{FIRST}: Expected `object`"),
        (lambda header: header.update(__metadata__={"steps": 7}), "Expected `str`, got `int`"),
        (lambda header: header.update(__metadata__=7), "Expected `object`, got `int`"),
    ],
)
def test_a_header_that_contradicts_the_format_is_refused_by_tensor(
    tmp_path: Path, spoil: Callable[[Header], object], says: str
) -> None:
    header = good()
    spoil(header)
    assert says in refusal(tmp_path, file_of(json.dumps(header).encode()))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it has 0 bytes"),
        (b"\x08\0\0\0", "it has 4 bytes"),
        (file_of(b"{}", 0)[:-1], "its header claims 2"),
        ((100_000_001).to_bytes(8, "little") + bytes(64), "its header claims 100000001"),
        (b"\xff" * 8 + b"{}", "its header claims 18446744073709551615"),
        (file_of(b"", 0), "does not begin with {"),
        (file_of(b" {}", 0), "does not begin with {"),
        (file_of(b"[]", 0), "does not begin with {"),
        (file_of(b"{", 0), "its header: "),
        (file_of(b'{"\xff": 1}', 0), "its header: "),
        (file_of(b"{" + b'"a":{' * 99_999, 0), "its header: "),
        (file_of(b'{"a": ' + b"9" * 5000 + b"}", 0), "its header: "),
    ],
)
def test_what_is_no_header_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    assert says in refusal(tmp_path, content)


@pytest.mark.parametrize("twice", ['"w":{},"w":{}', '"w":{"dtype":"F32","dtype":"F16"}'])
def test_a_key_that_is_there_twice_is_refused(tmp_path: Path, twice: str) -> None:
    assert "is there twice" in refusal(tmp_path, file_of(f"{{{twice}}}".encode()))


spans = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F16", "U8", "F4", "X"]),
        "shape": st.lists(st.integers(-1, 4), max_size=3),
        "data_offsets": st.lists(st.integers(-1, 64), min_size=1, max_size=3),
    }
)
headers = st.binary(max_size=64) | st.dictionaries(st.text(max_size=3), spans, max_size=4).map(
    lambda value: json.dumps(value).encode()
)


@given(headers, st.integers(0, 64))
def test_tensors_that_are_not_refused_cover_the_data_exactly(header: bytes, size: int) -> None:
    try:
        found = parse_header(NAME, header, size)
    except VerificationError:
        return
    covered = sorted(at for span in found.values() for at in range(span.start, span.stop))
    assert covered == list(range(size))
