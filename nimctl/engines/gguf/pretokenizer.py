"""Recognise how a `tokenizer.json` splits text before byte-pair encoding.

llama.cpp has the splits built in and knows them by name (llama-vocab.cpp), so a split is taken
only if it equals, part by part, one that the name stands for.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

_BYTES = ("ByteLevel", False, False)
_GPT2 = ("ByteLevel", False, True)

_Signature: TypeAlias = tuple[tuple[object, ...], ...]

_NAMES: dict[_Signature, str] = {
    (_GPT2,): "gpt-2",
    (("Digits", True), _GPT2): "smollm",
    (("Split", rf"{_CONTRACTIONS}|{_LETTERS}|\p{{N}}{{1,3}}|{_REST}"), _BYTES): "llama-bpe",
    (("Split", rf"{_CONTRACTIONS}|{_LETTERS}|\p{{N}}|{_REST}"), _BYTES): "qwen2",
}

KNOWN = tuple(sorted(_NAMES.values()))


def recognise(pre_tokenizer: Mapping[str, Any] | None) -> str | None:
    """llama.cpp's name of a pre-tokenizer; None when it has none."""
    return _NAMES.get(_signature(pre_tokenizer or {}))


def is_byte_level(pre_tokenizer: Mapping[str, Any] | None) -> bool:
    """Whether a pre-tokenizer, known or not, spells bytes as GPT-2 does."""
    return any(part[0] == "ByteLevel" for part in _signature(pre_tokenizer or {}))


def _signature(part: Mapping[str, Any]) -> _Signature:
    match part:
        case {"type": "Sequence", "pretokenizers": [*parts]}:
            return tuple(signature for inner in parts for signature in _signature(inner))
        case {"type": "ByteLevel"}:
            return (("ByteLevel", part.get("add_prefix_space", True), part.get("use_regex", True)),)
        case {"type": "Digits"}:
            return (("Digits", part.get("individual_digits", False)),)
        case {
            "type": "Split",
            "pattern": {"Regex": pattern},
            "behavior": "Isolated",
            "invert": False,
        }:
            return (("Split", pattern),)
    return (("unknown", part.get("type")),)
