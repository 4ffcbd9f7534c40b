"""Damage that only the bytes show: values, lengths, and whatever chance does to a file."""

import json
import struct
from pathlib import Path
from typing import NamedTuple

import gguf
import pytest
from gguf_fixtures import DATA, copy_case, overwrite
from hypothesis import given
from hypothesis import strategies as st

from nimctl.core.errors import NimctlError, UnsupportedModelError, VerificationError
from nimctl.engines.gguf.conversion import check, read_conversion
from nimctl.engines.gguf.convert import convert
from nimctl.engines.gguf.safetensors import SINGLE_FILE, parse_header
from nimctl.engines.gguf.sentencepiece import parse_model
from nimctl.engines.gguf.weights import encode

EMBEDDINGS = "model.embed_tokens.weight"


class BadValue(NamedTuple):
    """The bits of a bfloat16 in one tensor, and what is then said."""

    case: str
    tensor: str
    bits: int
    error: type[NimctlError]
    says: str


@pytest.mark.parametrize(
    "bad",
    [
        BadValue(
            "llama3", "lm_head.weight", 0x4780, UnsupportedModelError, "value 65536, more than f16"
        ),
        BadValue(
            "qwen3", "lm_head.weight", 0xC780, UnsupportedModelError, "value 65536, more than f16"
        ),
        BadValue("mistral", EMBEDDINGS, 0x7F80, VerificationError, "no finite numbers"),
        BadValue("mistral", "model.norm.weight", 0xFF80, VerificationError, "no finite numbers"),
        BadValue("mistral", EMBEDDINGS, 0x7FC0, VerificationError, "no finite numbers"),
    ],
)
def test_a_value_that_f16_cannot_hold_is_refused(bad: BadValue, tmp_path: Path) -> None:
    checkpoint = copy_case(bad.case, tmp_path)
    overwrite(checkpoint, bad.tensor, struct.pack("<H", bad.bits))
    check(checkpoint)
    output = tmp_path / "model.gguf"
    with pytest.raises(bad.error) as caught:
        convert(checkpoint, output, precision="f16", progress=lambda *_: None)
    assert type(caught.value) is bad.error
    said = f"{caught.value.message}: {caught.value.cause}"
    assert bad.tensor in said
    assert bad.says in said
    assert "q8_0" in str(caught.value.hint) or bad.error is VerificationError
    assert not output.exists()


def test_a_value_beyond_f16_is_kept_by_q8_0(tmp_path: Path) -> None:
    checkpoint = copy_case("llama3", tmp_path)
    overwrite(checkpoint, "lm_head.weight", struct.pack("<H", 0x4780))
    output = tmp_path / "model.gguf"
    convert(checkpoint, output, precision="q8_0", progress=lambda *_: None)
    [tensor] = [one for one in gguf.GGUFReader(output).tensors if one.name == "output.weight"]
    values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    assert values[0, 0] == pytest.approx(65536, rel=1e-3)


def test_a_file_that_shrinks_meanwhile_is_reported(tmp_path: Path) -> None:
    checkpoint = copy_case("llama", tmp_path)
    conversion = read_conversion(checkpoint)
    last = max(conversion.tensors, key=lambda one: one.stored.offset)
    with (checkpoint / SINGLE_FILE).open("r+b") as file:
        file.truncate(last.stored.offset + last.stored.size - 2)
    with pytest.raises(VerificationError) as caught:
        list(encode(last, "f32"))
    assert caught.value.cause == f"it ends inside {last.stored.name}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
sizes = st.integers(min_value=-1, max_value=2**64)
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F16", "F32", "BF16", "F4", "X"]),
        "shape": st.lists(sizes | st.integers(0, 4), max_size=3),
        "data_offsets": st.lists(sizes | st.integers(0, 64), min_size=1, max_size=3),
    }
)
headers = st.binary(max_size=64) | st.builds(
    lambda value: json.dumps(value).encode(),
    json_values | st.dictionaries(st.text(max_size=4), entries | json_values, max_size=4),
)


@given(headers, st.integers(0, 256))
def test_whatever_a_header_says_its_tensors_fill_the_file(content: bytes, size: int) -> None:
    try:
        tensors = parse_header(Path(SINGLE_FILE), content, start=8, end=8 + size).values()
    except VerificationError:
        return
    assert sum(tensor.size for tensor in tensors) == size
    assert all(8 <= tensor.offset <= 8 + size for tensor in tensors)


@given(st.data())
def test_whatever_is_changed_in_a_sentencepiece_model_is_read_or_refused(
    data: st.DataObject,
) -> None:
    content = bytearray((DATA / "mistral" / "tokenizer.model").read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    try:
        vocabulary = parse_model(Path("tokenizer.model"), bytes(content[:cut]))
    except (VerificationError, UnsupportedModelError):
        return
    assert len(vocabulary.pieces) >= 256
