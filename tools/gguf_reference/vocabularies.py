"""Small tokenizers in the forms in which the Hub has them, and what they make of a text."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sentencepiece
from texts import training_text
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.decoders import ByteLevel
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

BPE_SIZE = 372
SENTENCEPIECE_SIZE = 400
TOOL = "<tool>"

Encode = Callable[[str], list[int]]

# The patterns in the tokenizer.json of Llama 3 and Qwen 2.
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def write_bpe(
    folder: Path, *, split: str, specials: tuple[str, ...], bos: str | None
) -> tuple[Encode, dict[str, Any]]:
    """Write `tokenizer.json`; the encoder, and the keys of `tokenizer_config.json`."""
    tokenizer = Tokenizer.from_str(json.dumps(_trained_bpe(ignore_merges=split == "llama-bpe")))
    tokenizer.pre_tokenizer = _pre_tokenizer(split)
    tokenizer.decoder = ByteLevel()
    if split == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_special_tokens(list(specials))
    tokenizer.add_tokens([AddedToken(TOOL, special=False, normalized=False)])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if bos:
        template = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
        tokenizer.post_processor = processors.Sequence([tokenizer.post_processor, template])
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text).ids
        return ids

    return encode, {"bos_token": bos, "eos_token": specials[-1], "pad_token": specials[0]}


def write_sentencepiece(
    folder: Path, *, specials: tuple[str, ...]
) -> tuple[Encode, dict[str, Any]]:
    """Write `tokenizer.model` with Llama 2's settings; the encoder and the configuration's keys."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(training_text().splitlines() * 20),
        model_writer=model,
        model_type="bpe",
        vocab_size=SENTENCEPIECE_SIZE,
        control_symbols=list(specials),
        byte_fallback=True,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        num_threads=1,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = {text: processor.piece_to_id(text) for text in ("<s>", "</s>", *specials)}
    ids[TOOL] = processor.vocab_size()
    markers = re.compile("(" + "|".join(re.escape(text) for text in ids) + ")")

    def encode(text: str) -> list[int]:
        """What transformers' slow LlamaTokenizer (legacy) does: each part on its own."""
        parts = (part for part in markers.split(text) if part)
        pieces = ([ids[part]] if part in ids else processor.encode(part) for part in parts)
        return [ids["<s>"], *(id_ for piece in pieces for id_ in piece)]

    added = {
        str(id_): {"content": text, "special": text != TOOL} for text, id_ in sorted(ids.items())
    }
    config = {
        "add_eos_token": False,
        "added_tokens_decoder": added,
        "bos_token": {"content": "<s>", "__type": "AddedToken"},
        "eos_token": {"content": "</s>", "__type": "AddedToken"},
        "unk_token": {"content": "<unk>", "__type": "AddedToken"},
        "pad_token": None,
    }
    return encode, config


def _trained_bpe(*, ignore_merges: bool) -> dict[str, Any]:
    tokenizer = Tokenizer(BPE())
    # No split while training, so that there are merges across every border.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = BpeTrainer(
        vocab_size=BPE_SIZE,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([training_text()] * 20, trainer)
    description: dict[str, Any] = json.loads(tokenizer.to_str())
    # A word that merges do not reach: only a tokenizer that ignores merges finds it.
    description["model"]["vocab"]["\u0120zebra"] = len(description["model"]["vocab"])
    description["model"]["ignore_merges"] = ignore_merges
    return description


def _pre_tokenizer(split: str) -> Any:
    if split in {"llama-bpe", "qwen2"}:
        pattern = _LLAMA3 if split == "llama-bpe" else _QWEN2
        return pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if split == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2])
    return gpt2
