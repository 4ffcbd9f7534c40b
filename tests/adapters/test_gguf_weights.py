"""The order and the chunks in which weights are written."""

from pathlib import Path

import numpy as np
import pytest
from gguf_fixtures import DATA
from hypothesis import given
from hypothesis import strategies as st

from nimctl.engines.gguf.conversion import TensorCopy, read_conversion
from nimctl.engines.gguf.weights import Encoding, encode, encoded_bytes, pair_neighbours


def copies(case: str) -> list[TensorCopy]:
    return list(read_conversion(DATA / case).tensors)


@given(heads=st.integers(1, 4), half=st.integers(1, 5), columns=st.integers(1, 3))
def test_element_i_of_a_head_comes_beside_element_i_of_its_other_half(
    heads: int, half: int, columns: int
) -> None:
    rows = np.arange(heads * 2 * half * columns, dtype=np.float32).reshape(-1, columns)
    paired = pair_neighbours(rows, 2 * half)
    for head in range(heads):
        start = head * 2 * half
        for i in range(half):
            assert np.array_equal(paired[start + 2 * i], rows[start + i])
            assert np.array_equal(paired[start + 2 * i + 1], rows[start + half + i])


@pytest.mark.parametrize("target", ["f32", "f16", "q8_0"])
@pytest.mark.parametrize("case", ["llama3", "llama-biased", "qwen3"])
def test_the_size_of_chunks_does_not_change_the_bytes(case: str, target: Encoding) -> None:
    for copy in copies(case):
        if target == "q8_0" and len(copy.rule.shape) == 1:
            continue
        whole = b"".join(encode(copy, target))
        assert len(whole) == encoded_bytes(copy.rule.shape, target)
        single = list(encode(copy, target, chunk_bytes=1))
        assert len(single) == (copy.rule.rotated_heads or copy.rule.shape[0])
        assert b"".join(single) == whole
        assert b"".join(encode(copy, target, chunk_bytes=1000)) == whole


def test_f32_is_carried_exactly() -> None:
    [norm] = [one for one in copies("llama-biased") if one.rule.target == "output_norm.weight"]
    stored = Path(norm.stored.file).read_bytes()
    start = norm.stored.offset
    assert b"".join(encode(norm, "f32")) == stored[start : start + norm.stored.size]
