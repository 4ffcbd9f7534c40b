"""What a GGUF file says of its model."""

from pathlib import Path
from typing import Any

import gguf
import pytest
from gguf_fixtures import CASES, DATA, convert_case, copy_case, edit_json

from nimctl.engines.gguf.conversion import read_conversion
from nimctl.engines.gguf.convert import convert
from nimctl.engines.gguf.sentencepiece import parse_model
from nimctl.engines.gguf.vocabulary import Piece, TokenType
from nimctl.engines.gguf.weights import Precision, encoding

COMMON = {
    "general.type": "model",
    "general.file_type": 1,
    "general.quantization_version": 2,
}
LLAMA = {
    "general.architecture": "llama",
    "general.name": "LlamaForCausalLM",
    "llama.context_length": 256,
    "llama.embedding_length": 64,
    "llama.block_count": 2,
    "llama.feed_forward_length": 96,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.attention.layer_norm_rms_epsilon": pytest.approx(1e-6),
    "llama.rope.dimension_count": 16,
    "llama.rope.freq_base": 10_000.0,
    "llama.vocab_size": 384,
}
EXPECTED: dict[str, dict[str, Any]] = {
    "llama": LLAMA
    | {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.eos_token_id": 375,
        "tokenizer.ggml.padding_token_id": 373,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_eos_token": False,
    },
    "llama3": LLAMA
    | {
        "tokenizer.ggml.pre": "llama-bpe",
        "tokenizer.ggml.bos_token_id": 374,
        "tokenizer.ggml.eos_token_id": 375,
        "tokenizer.ggml.add_bos_token": True,
    },
    "llama-biased": LLAMA
    | {
        "llama.block_count": 1,
        "llama.rope.scaling.type": "linear",
        "llama.rope.scaling.factor": 2.0,
        "tokenizer.ggml.pre": "smollm",
    },
    "mistral": LLAMA
    | {
        "general.name": "MistralForCausalLM",
        # The engine has no sliding window in this architecture, so the context ends with it.
        "llama.context_length": 64,
        "llama.attention.key_length": 32,
        "llama.attention.value_length": 32,
        "llama.rope.dimension_count": 32,
        "llama.vocab_size": 408,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.add_space_prefix": True,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": False,
    },
    "qwen2": {
        "general.architecture": "qwen2",
        "qwen2.rope.freq_base": 1_000.0,
        "qwen2.rope.scaling.type": "yarn",
        "qwen2.rope.scaling.factor": 4.0,
        "qwen2.rope.scaling.original_context_length": 64,
        "tokenizer.ggml.pre": "qwen2",
    },
    "qwen3": {
        "general.architecture": "qwen3",
        "qwen3.rope.freq_base": 1_000_000.0,
        "qwen3.rope.dimension_count": 32,
        "qwen3.attention.key_length": 32,
        "tokenizer.ggml.pre": "qwen2",
    },
}
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] }}{% endfor %}"
)


def metadata(model: Path) -> dict[str, Any]:
    return {key: field.contents() for key, field in gguf.GGUFReader(model).fields.items()}


@pytest.mark.parametrize("case", CASES)
def test_each_number_of_the_configuration_arrives(case: str, tmp_path: Path) -> None:
    found = metadata(convert_case(case, tmp_path / "model.gguf", "f16"))
    expected = COMMON | EXPECTED[case]
    assert {key: found.get(key) for key in expected} == expected


@pytest.mark.parametrize("case", CASES)
def test_each_embedding_has_a_token(case: str, tmp_path: Path) -> None:
    found = metadata(convert_case(case, tmp_path / "model.gguf", "f16"))
    tokens, types = found["tokenizer.ggml.tokens"], found["tokenizer.ggml.token_type"]
    assert len(tokens) == len(types) == len(set(tokens)) == (408 if case == "mistral" else 384)
    unused = [token for token, kind in zip(tokens, types, strict=True) if kind == 5]
    assert unused == [f"[PAD{id_}]" for id_ in range(len(tokens) - len(unused), len(tokens))]
    assert unused
    assert types[tokens.index("<tool>")] == gguf.TokenType.USER_DEFINED
    assert types[found["tokenizer.ggml.eos_token_id"]] == gguf.TokenType.CONTROL


@pytest.mark.parametrize("case", ["llama", "llama3", "qwen2"])
def test_the_chat_template_is_found_in_each_of_its_places(case: str, tmp_path: Path) -> None:
    found = metadata(convert_case(case, tmp_path / "model.gguf", "f16"))
    assert found["tokenizer.chat_template"] == TEMPLATE
    if case == "qwen2":
        assert found["tokenizer.chat_templates"] == ["tool_use"]
        assert found["tokenizer.chat_template.tool_use"] == TEMPLATE + " tools"


def test_matrices_are_quantised_and_vectors_are_not(tmp_path: Path) -> None:
    reader = gguf.GGUFReader(convert_case("llama3", tmp_path / "model.gguf", "q8_0"))
    types = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    vectors = {name for name in types if "norm" in name or name == "rope_freqs.weight"}
    assert len(vectors) == 6
    assert {types[name] for name in vectors} == {"F32"}
    assert {types[name] for name in types.keys() - vectors} == {"Q8_0"}


def test_rows_that_no_block_of_32_fits_stay_f16() -> None:
    assert encoding((8, 64), "q8_0") == "q8_0"
    assert encoding((8, 48), "q8_0") == "f16"


def test_generation_ends_at_every_token_that_the_checkpoint_names(tmp_path: Path) -> None:
    checkpoint = copy_case("llama3", tmp_path)
    edit_json(checkpoint / "generation_config.json", eos_token_id=[9_999, 373, 375, 374])
    found = read_conversion(checkpoint).metadata
    keys = [f"tokenizer.ggml.{key}_token_id" for key in ("eos", "eot", "eom")]
    assert [found[key] for key in keys] == [375, 373, 374]


def test_spaces_of_a_user_defined_piece_are_those_of_the_text() -> None:
    content = (DATA / "mistral" / "tokenizer.model").read_bytes()
    text = "\N{LOWER ONE EIGHTH BLOCK}x".encode()
    piece = b"\x0a" + bytes([len(text)]) + text + b"\x18\4"
    vocabulary = parse_model(
        Path("tokenizer.model"), content + b"\x0a" + bytes([len(piece)]) + piece
    )
    assert vocabulary.pieces[400] == Piece(text=" x", type=TokenType.USER_DEFINED)


def test_the_configuration_decides_on_the_space_before_a_text(tmp_path: Path) -> None:
    checkpoint = copy_case("mistral", tmp_path)
    edit_json(checkpoint / "tokenizer_config.json", add_prefix_space=False)
    assert read_conversion(checkpoint).metadata["tokenizer.ggml.add_space_prefix"] is False


def test_the_borders_of_yarn_are_carried_when_they_are_not_the_usual_ones(tmp_path: Path) -> None:
    checkpoint = copy_case("qwen2", tmp_path)
    rope = {"type": "yarn", "factor": 2, "beta_fast": 16, "beta_slow": 2}
    edit_json(checkpoint / "config.json", rope_parameters=None, rope_scaling=rope)
    found = read_conversion(checkpoint).metadata
    keys = ("freq_base", "scaling.original_context_length", "scaling.yarn_beta_fast")
    assert [found[f"qwen2.rope.{key}"] for key in keys] == [10_000.0, 256, 16.0]
    assert found["qwen2.rope.scaling.yarn_beta_slow"] == 2.0


def test_a_padding_token_without_an_embedding_is_left_out(tmp_path: Path) -> None:
    checkpoint = copy_case("mistral", tmp_path)
    (checkpoint / "added_tokens.json").write_text('{"<pad>": 408, "<end of call>": 401}')
    edit_json(checkpoint / "tokenizer_config.json", pad_token={"content": "<pad>"})
    found = read_conversion(checkpoint).metadata
    tokens, types = found["tokenizer.ggml.tokens"], found["tokenizer.ggml.token_type"]
    assert isinstance(tokens, list)
    assert isinstance(types, list)
    assert len(tokens) == 408
    assert "<pad>" not in tokens
    assert "tokenizer.ggml.padding_token_id" not in found
    assert (tokens[401], types[401]) == ("<end of call>", gguf.TokenType.USER_DEFINED)


def test_the_name_is_the_repository_and_not_the_directory(tmp_path: Path) -> None:
    checkpoint = copy_case("llama", tmp_path)
    edit_json(checkpoint / "config.json", _name_or_path="org/Tiny-Llama")
    assert read_conversion(checkpoint).metadata["general.name"] == "Tiny-Llama"


@pytest.mark.parametrize(
    ("case", "changes", "context"),
    [
        ("mistral", {"sliding_window": None}, 256),
        ("mistral", {"sliding_window": 4096}, 256),
        ("llama", {"sliding_window": 64}, 256),
        ("qwen3", {"sliding_window": 64}, 256),
        ("qwen3", {"sliding_window": 64, "use_sliding_window": True}, 64),
    ],
)
def test_the_context_ends_where_a_sliding_window_would_matter(
    case: str, changes: dict[str, object], context: int, tmp_path: Path
) -> None:
    checkpoint = copy_case(case, tmp_path)
    edit_json(checkpoint / "config.json", **changes)
    conversion = read_conversion(checkpoint)
    assert conversion.metadata[f"{conversion.architecture.name}.context_length"] == context


@pytest.mark.parametrize("precision", ["f16", "q8_0"])
def test_the_same_checkpoint_gives_the_same_bytes(precision: Precision, tmp_path: Path) -> None:
    one = convert_case("qwen2", tmp_path / "one.gguf", precision)
    elsewhere = copy_case("qwen2", tmp_path)
    other = tmp_path / "other.gguf"
    convert(elsewhere, other, precision=precision, progress=lambda _done, _total: None)
    assert one.read_bytes() == other.read_bytes()
