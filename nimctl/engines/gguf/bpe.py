"""Byte-level BPE vocabularies from `tokenizer.json`.

llama.cpp does not normalise: text that is not in NFC, which Qwen's tokenizer composes first, gets
other tokens than in transformers.
"""

from pathlib import Path
from typing import Any

import msgspec

from nimctl.engines.gguf import pretokenizer
from nimctl.engines.gguf.refusals import corrupt, unsupported
from nimctl.engines.gguf.vocabulary import AddedToken, Piece, Vocabulary

TOKENIZER_FILE = "tokenizer.json"


class _Model(msgspec.Struct, frozen=True):
    type: str | None = None
    vocab: Any = None
    merges: list[str | tuple[str, str]] = []
    byte_fallback: bool = False
    ignore_merges: bool = False
    dropout: float | None = None
    continuing_subword_prefix: str | None = None
    end_of_word_suffix: str | None = None


class TokenizerFile(msgspec.Struct, frozen=True):
    """`tokenizer.json` as far as conversion depends on it."""

    model: _Model
    added_tokens: list[AddedToken] = []
    normalizer: dict[str, Any] | None = None
    pre_tokenizer: dict[str, Any] | None = None
    post_processor: dict[str, Any] | None = None

    @property
    def is_byte_level(self) -> bool:
        """Whether the vocabulary is of bytes in GPT-2's spelling, not of SentencePiece pieces."""
        return self.model.type == "BPE" and pretokenizer.is_byte_level(self.pre_tokenizer)


def bpe_vocabulary(file: Path, tokenizer: TokenizerFile) -> Vocabulary:
    """Translate a byte-level BPE tokenizer.

    Raises:
        UnsupportedModelError: It splits or normalises text in a way that llama.cpp has not.
        VerificationError: The file is malformed.
    """
    pre = _pre_tokenizer(file, tokenizer)
    try:
        vocab = msgspec.convert(tokenizer.model.vocab, dict[str, int])
    except msgspec.ValidationError as error:
        raise corrupt(file, f"its vocabulary: {error}") from error
    begins_with, ends_with = _around(tokenizer.post_processor)
    return Vocabulary(
        file=file,
        pieces={id_: Piece(text=text) for text, id_ in vocab.items()},
        metadata={
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": pre,
            "tokenizer.ggml.merges": [_merge(file, merge) for merge in tokenizer.model.merges],
        },
        scored=False,
        begins_with=begins_with,
        ends_with=ends_with,
    )


def _pre_tokenizer(file: Path, tokenizer: TokenizerFile) -> str:
    name = pretokenizer.recognise(tokenizer.pre_tokenizer)
    if name is None:
        raise unsupported(
            f"the pre-tokenizer of {file} is not known",
            cause="known are " + ", ".join(pretokenizer.KNOWN),
        )
    model, normalizer = tokenizer.model, tokenizer.normalizer or {"type": "NFC"}
    # llama.cpp takes whole words before merging for llama-bpe, and for no other of these splits.
    # A Llama 3 tokenizer.json without the flag is from before tokenizers had it.
    odd = {
        "ignore_merges": model.ignore_merges and name != "llama-bpe",
        "byte_fallback": model.byte_fallback,
        "dropout": model.dropout,
        "continuing_subword_prefix": model.continuing_subword_prefix,
        "end_of_word_suffix": model.end_of_word_suffix,
        f"normalizer {normalizer.get('type')}": normalizer != {"type": "NFC"},
    }
    found = [name for name, value in odd.items() if value]
    if found:
        raise unsupported(f"{file} asks for {', '.join(found)}, which llama.cpp does not do")
    return name


def _merge(file: Path, merge: str | tuple[str, str]) -> str:
    text = merge if isinstance(merge, str) else " ".join(merge)
    if text.count(" ") != 1:
        raise corrupt(file, f"the merge {text!r} has not two parts")
    return text


def _around(post_processor: dict[str, Any] | None) -> tuple[str | None, str | None]:
    """The special tokens that a post-processor puts before and after a single text."""
    match post_processor:
        case {"type": "TemplateProcessing", "single": [first, *_, last]}:
            return _special(first), _special(last)
        case {"type": "Sequence", "processors": [*processors]}:
            found = [_around(processor) for processor in processors]
            return next((pair for pair in found if pair != (None, None)), (None, None))
    return None, None


def _special(item: object) -> str | None:
    match item:
        case {"SpecialToken": {"id": str(text)}}:
            return text
    return None
