"""Checkpoints that are refused: which error, and what it names."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from gguf_fixtures import Header, copy_case, edit_header, edit_json

from nimctl.core.errors import NimctlError, UnsupportedModelError, VerificationError
from nimctl.engines.gguf.conversion import check
from nimctl.engines.gguf.convert import convert

CONFIG = "config.json"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
SECOND = "model-00002-of-00002.safetensors"
EMBEDDINGS = "model.embed_tokens.weight"

Spoil = Callable[[Path], object]


class Refusal(NamedTuple):
    """A way to spoil a recorded checkpoint, and what is then said."""

    case: str
    spoil: Spoil
    error: type[NimctlError]
    says: str


def config(**changes: object) -> Spoil:
    return lambda folder: edit_json(folder / CONFIG, **changes)


def rope(**parameters: object) -> Spoil:
    return config(rope_parameters=parameters)


def special(role: str, token: str | None) -> Spoil:
    return lambda folder: edit_json(folder / "tokenizer_config.json", **{f"{role}_token": token})


def tokenizer(**changes: object) -> Spoil:
    return lambda folder: edit_json(folder / "tokenizer.json", **changes)


def bpe(**changes: object) -> Spoil:
    def spoil(folder: Path) -> None:
        file = folder / "tokenizer.json"
        content = json.loads(file.read_text("utf-8"))
        content["model"] |= changes
        file.write_text(json.dumps(content), "utf-8")

    return spoil


def header(edit: Callable[[Header], object]) -> Spoil:
    return lambda folder: edit_header(folder / SINGLE, edit)


def bytes_of(name: str, edit: Callable[[bytes], bytes]) -> Spoil:
    def spoil(folder: Path) -> None:
        file = folder / name
        file.write_bytes(edit(file.read_bytes()))

    return spoil


def remove(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def index(edit: Callable[[dict[str, str]], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        content = json.loads((folder / INDEX).read_text("utf-8"))
        edit(content["weight_map"])
        (folder / INDEX).write_text(json.dumps(content), "utf-8")

    return spoil


def long_header(folder: Path) -> None:
    with (folder / SINGLE).open("r+b") as file:
        file.write((100_000_001).to_bytes(8, "little"))
        file.truncate(200_000_000)


def as_fp8(entries: Header) -> None:
    rows, columns = entries[EMBEDDINGS]["shape"]
    entries[EMBEDDINGS] |= {"dtype": "F8_E4M3", "shape": [rows, 2 * columns]}


def as_strings(entries: Header) -> None:
    entries[EMBEDDINGS]["dtype"] = "STR"


def transposed(entries: Header) -> None:
    entries[EMBEDDINGS]["shape"].reverse()


def renamed(entries: Header) -> None:
    entries["model.extra.weight"] = entries.pop(EMBEDDINGS)


def shifted(entries: Header) -> None:
    start, end = entries[EMBEDDINGS]["data_offsets"]
    entries[EMBEDDINGS]["data_offsets"] = [start + 2, end + 2]


def too_long(entries: Header) -> None:
    start, end = entries[EMBEDDINGS]["data_offsets"]
    entries[EMBEDDINGS]["data_offsets"] = [start, end + 64]


def backwards(entries: Header) -> None:
    entries[EMBEDDINGS]["data_offsets"].reverse()


UNSUPPORTED, CORRUPT = UnsupportedModelError, VerificationError
# Text, score and type (6, a byte) of one piece, as protocol buffers have it.
BYTE_PIECE = b"\x0a\6<0x41>\x15\0\0\0\0\x18\6"

REFUSALS = {
    # The model
    "no config": Refusal("llama", remove(CONFIG), CORRUPT, f"{CONFIG} is missing"),
    "config is no JSON": Refusal(
        "llama", bytes_of(CONFIG, lambda _: b"{"), CORRUPT, f"{CONFIG} is malformed"
    ),
    "config is deep": Refusal(
        "llama", bytes_of(CONFIG, lambda _: b"[" * 99_999), CORRUPT, f"{CONFIG} is malformed"
    ),
    "number is text": Refusal(
        "llama",
        config(hidden_size="64"),
        CORRUPT,
        r"got `str` - at `\$.hidden_size`",
    ),
    "other class": Refusal(
        "llama",
        config(architectures=["MixtralForCausalLM"]),
        UNSUPPORTED,
        "a MixtralForCausalLM cannot be converted",
    ),
    "no class": Refusal("llama", config(architectures=[]), UNSUPPORTED, "without architectures"),
    "quantised": Refusal(
        "llama", config(quantization_config={"quant_method": "awq"}), UNSUPPORTED, "awq"
    ),
    "activation": Refusal("llama", config(hidden_act="gelu"), UNSUPPORTED, "activation gelu"),
    "heads": Refusal("llama", config(num_key_value_heads=3), CORRUPT, "4 heads do not share 3"),
    "odd heads": Refusal("llama", config(head_dim=15), CORRUPT, "heads of 15 elements"),
    "partial rotation": Refusal(
        "llama", config(partial_rotary_factor=0.5), UNSUPPORTED, "part of each head"
    ),
    "biased qwen3": Refusal("qwen3", config(attention_bias=True), UNSUPPORTED, "attention biases"),
    # Rotary scaling
    "unknown scaling": Refusal(
        "llama", rope(rope_type="longrope"), UNSUPPORTED, "'longrope' cannot be converted"
    ),
    "dynamic scaling, old form": Refusal(
        "mistral", config(rope_scaling={"type": "dynamic", "factor": 2.0}), UNSUPPORTED, "'dynamic'"
    ),
    "llama3 scaling in qwen": Refusal(
        "qwen3", rope(rope_type="llama3", factor=8.0), UNSUPPORTED, "in a Qwen3ForCausalLM"
    ),
    "own attention factor": Refusal(
        "qwen2", rope(rope_type="yarn", factor=4.0, attention_factor=1.0), UNSUPPORTED, "YaRN"
    ),
    "partial rotation among the parameters": Refusal(
        "llama", rope(partial_rotary_factor=0.5), UNSUPPORTED, "part of each head"
    ),
    "factor of zero": Refusal(
        "llama", rope(rope_type="linear", factor=0.0), CORRUPT, "contradict themselves"
    ),
    "factor is text": Refusal("llama", rope(factor="2"), CORRUPT, r"\$.factor"),
    # Files of tensors
    "no tensors": Refusal("llama", remove(SINGLE), UNSUPPORTED, f"neither {SINGLE} nor {INDEX}"),
    "empty file": Refusal("llama", bytes_of(SINGLE, lambda _: b""), CORRUPT, f"{SINGLE} is malf"),
    "header beyond the end": Refusal(
        "llama",
        bytes_of(SINGLE, lambda old: (1 << 20).to_bytes(8, "little") + old[8:]),
        CORRUPT,
        "its header claims 1048576",
    ),
    "header beyond the limit": Refusal(
        "llama",
        bytes_of(SINGLE, lambda old: b"\xff" * 8 + old[8:]),
        CORRUPT,
        "its header claims 18446744073709551615",
    ),
    "header of 100 MB": Refusal("llama", long_header, CORRUPT, "its header claims 100000001"),
    "header is no JSON": Refusal(
        "llama",
        bytes_of(SINGLE, lambda old: old[:8] + b"!" + old[9:]),
        CORRUPT,
        f"{SINGLE} is malformed",
    ),
    "cut off": Refusal(
        "llama", bytes_of(SINGLE, lambda old: old[:-2]), CORRUPT, r"end at byte \d+, the file at"
    ),
    "bytes behind": Refusal("llama", bytes_of(SINGLE, lambda old: old + b"ab"), CORRUPT, "end at"),
    "unknown dtype": Refusal("llama", header(as_strings), CORRUPT, "unknown data type STR"),
    "fp8": Refusal("llama", header(as_fp8), UNSUPPORTED, f"{EMBEDDINGS} is stored as F8_E4M3"),
    "overlap": Refusal("llama", header(shifted), CORRUPT, r"starts at \d+, expected at"),
    "other size": Refusal("llama", header(too_long), CORRUPT, f"{EMBEDDINGS} takes"),
    "negative size": Refusal("llama", header(backwards), CORRUPT, f"{EMBEDDINGS} takes -"),
    "transposed": Refusal("llama", header(transposed), CORRUPT, f"{EMBEDDINGS} has the shape"),
    "missing tensor": Refusal(
        "llama", header(renamed), CORRUPT, f"the tensor {EMBEDDINGS} is missing"
    ),
    "tensor too many": Refusal(
        "llama3",
        config(num_hidden_layers=1),
        UNSUPPORTED,
        r"model\.layers\.1\.\S+ is no tensor of a LlamaForCausalLM",
    ),
    "missing shard": Refusal("llama3", remove(SECOND), CORRUPT, f"{SECOND} is missing"),
    "index without map": Refusal(
        "llama3", bytes_of(INDEX, lambda _: b"{}"), CORRUPT, "missing required field `weight_map`"
    ),
    "index names an absent tensor": Refusal(
        "llama3",
        index(lambda places: places.update(ghost=SECOND)),
        CORRUPT,
        f"it places ghost in {SECOND}, which does not have it",
    ),
    "index leads outside": Refusal(
        "llama3",
        index(lambda places: places.update(ghost="../../secret")),
        CORRUPT,
        "'../../secret' is not a plain file name",
    ),
    # The tokenizer
    "no tokenizer": Refusal("llama", remove("tokenizer.json"), UNSUPPORTED, "has no tokenizer"),
    "no sentencepiece": Refusal(
        "mistral", remove("tokenizer.model"), UNSUPPORTED, "nor a tokenizer.model"
    ),
    "unknown pre-tokenizer": Refusal(
        "qwen2",
        tokenizer(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True}),
        UNSUPPORTED,
        r"pre-tokenizer of \S+tokenizer.json is not known",
    ),
    "normaliser": Refusal(
        "qwen2", tokenizer(normalizer={"type": "Lowercase"}), UNSUPPORTED, "normalizer Lowercase"
    ),
    "ignored merges": Refusal("qwen2", bpe(ignore_merges=True), UNSUPPORTED, "ignore_merges"),
    "merge of three": Refusal("qwen2", bpe(merges=["a b c"]), CORRUPT, "'a b c' has not two parts"),
    "vocabulary is a list": Refusal("qwen2", bpe(vocab=[["a", 0.0]]), CORRUPT, "its vocabulary"),
    "two ids": Refusal(
        "qwen2",
        tokenizer(added_tokens=[{"id": 380, "content": "!"}]),
        CORRUPT,
        r"'!' has two ids: \d+, 380",
    ),
    "more tokens than embeddings": Refusal(
        "qwen2",
        bpe(vocab={"a": 0, "beyond": 384}),
        CORRUPT,
        "'beyond' has the id 384, the model 384 embeddings",
    ),
    "no end": Refusal("qwen2", special("eos", None), UNSUPPORTED, "ends a generation"),
    "unknown end": Refusal(
        "qwen2", special("eos", "<end>"), CORRUPT, "eos_token '<end>' is not in"
    ),
    "bos without a token": Refusal(
        "qwen2",
        lambda folder: edit_json(folder / "tokenizer_config.json", add_bos_token=True),
        CORRUPT,
        "but none is named",
    ),
    "another token around": Refusal(
        "llama3", special("bos", "<|eot_id|>"), UNSUPPORTED, r"puts '<\|begin_of_text"
    ),
    "template is no text": Refusal(
        "llama",
        bytes_of("chat_template.jinja", lambda _: b"\xff"),
        CORRUPT,
        "chat_template.jinja is malformed",
    ),
    "sentencepiece cut off": Refusal(
        "mistral",
        bytes_of("tokenizer.model", lambda old: old[:-1]),
        CORRUPT,
        "tokenizer.model is malformed",
    ),
    "sentencepiece with a byte less": Refusal(
        "mistral",
        bytes_of("tokenizer.model", lambda old: old.replace(BYTE_PIECE, BYTE_PIECE[:-1] + b"\1")),
        UNSUPPORTED,
        "no pieces for single bytes",
    ),
    "unigram": Refusal(
        "mistral",
        bytes_of("tokenizer.model", lambda old: old + b"\x12\2\x18\1"),
        UNSUPPORTED,
        "no BPE model",
    ),
    "sentencepiece that strips spaces": Refusal(
        "mistral",
        bytes_of("tokenizer.model", lambda old: old + b"\x1a\2\x20\1"),
        UNSUPPORTED,
        "normalises text",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_the_headers_tell_is_refused_by_check_and_before_writing(
    name: str, tmp_path: Path
) -> None:
    refusal = REFUSALS[name]
    checkpoint = copy_case(refusal.case, tmp_path)
    refusal.spoil(checkpoint)
    output = tmp_path / "model.gguf"
    with pytest.raises(NimctlError) as by_check:
        check(checkpoint)
    with pytest.raises(NimctlError) as by_convert:
        convert(checkpoint, output, precision="f16", progress=lambda *_: None)
    assert type(by_check.value) is type(by_convert.value) is refusal.error
    assert by_check.value.message == by_convert.value.message
    said = f"{by_check.value.message}: {by_check.value.cause}"
    assert re.search(refusal.says, said)
    assert by_check.value.hint
    assert not output.exists()
