"""Converted models answer as transformers does, and split texts as their own tokenizers do."""

from pathlib import Path
from typing import Any

import gguf
import gguf_engine
import numpy as np
import numpy.typing as npt
import pytest
from gguf_fixtures import CASES, RECORD, convert_case


def _values(model: Path) -> dict[str, npt.NDArray[Any]]:
    return {
        str(tensor.name): gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        for tensor in gguf.GGUFReader(model).tensors
    }


@pytest.mark.parametrize("case", CASES)
def test_the_engine_answers_in_the_tokens_of_transformers(case: str, tmp_path: Path) -> None:
    model = convert_case(case, tmp_path / "model.gguf", "f16")
    answers, tokens = RECORD[case]["answers"], RECORD[case]["tokens"]
    got = gguf_engine.ask(
        model,
        prompts=[one["prompt"] for one in answers],
        new_tokens=len(answers[0]["answer"]),
        texts=[text for text, _ in tokens],
    )
    assert got["answers"] == [one["answer"] for one in answers]
    assert list(zip([text for text, _ in tokens], got["tokens"], strict=True)) == [
        (text, ids) for text, ids in tokens
    ]


@pytest.mark.parametrize("case", CASES)
def test_q8_0_keeps_most_first_tokens(case: str, tmp_path: Path) -> None:
    model = convert_case(case, tmp_path / "model.gguf", "q8_0")
    answers = RECORD[case]["answers"]
    got = gguf_engine.ask(model, prompts=[one["prompt"] for one in answers], new_tokens=1, texts=[])
    kept = [ids[0] == one["answer"][0] for ids, one in zip(got["answers"], answers, strict=True)]
    assert sum(kept) > len(kept) / 2


@pytest.mark.parametrize("case", CASES)
def test_q8_0_is_off_by_no_more_than_half_a_step(case: str, tmp_path: Path) -> None:
    exact = _values(convert_case(case, tmp_path / "f16.gguf", "f16"))
    rounded = _values(convert_case(case, tmp_path / "q8_0.gguf", "q8_0"))
    assert list(exact) == list(rounded)
    quantised = 0
    for name, values in exact.items():
        if values.ndim == 1:
            assert np.array_equal(values, rounded[name]), name
            continue
        quantised += 1
        blocks = values.reshape(-1, 32)
        steps = np.abs(blocks).max(axis=1, keepdims=True) / 127
        # The step itself is rounded to f16 (11 bits), which counts 127 times at the far end.
        allowed = steps * (0.5 + 127 * 2.0**-11) + 1e-6
        assert (np.abs(rounded[name].reshape(-1, 32) - blocks) <= allowed).all(), name
    assert quantised > 0
