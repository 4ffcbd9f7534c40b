"""Which tokens begin, end and pad a text."""

from pathlib import Path

import msgspec

from nimctl.core.checkpoint import CONFIG_FILE
from nimctl.engines.gguf.jsonfile import read_optional
from nimctl.engines.gguf.metadata import Metadata
from nimctl.engines.gguf.refusals import corrupt, unsupported
from nimctl.engines.gguf.tokenizer_config import TOKENIZER_CONFIG_FILE, TokenizerConfig
from nimctl.engines.gguf.vocabulary import Vocabulary

GENERATION_CONFIG_FILE = "generation_config.json"

# Generation stops at each of these ids. GGUF has no key for a list of them, but these three.
_END_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")


class _TokenIds(msgspec.Struct, frozen=True):
    """The ids in `config.json` and `generation_config.json`."""

    bos_token_id: int | list[int] | None = None
    eos_token_id: int | list[int] | None = None


def special_tokens(checkpoint: Path, config: TokenizerConfig, vocabulary: Vocabulary) -> Metadata:
    """Ids of special tokens, and which of them are put around each text.

    `tokenizer_config.json` comes before `generation_config.json` and `config.json`.

    Raises:
        UnsupportedModelError: Nothing says which token ends a generation, or other tokens than
            the first and the last are put around a text.
        VerificationError: A special token is not in the vocabulary, or a file is malformed.
    """
    model = read_optional(checkpoint / CONFIG_FILE, _TokenIds) or _TokenIds()
    generation = read_optional(checkpoint / GENERATION_CONFIG_FILE, _TokenIds) or _TokenIds()
    named = _named_ids(checkpoint / TOKENIZER_CONFIG_FILE, config, vocabulary)
    begins = named["bos"] or _listed(model.bos_token_id)
    ends = named["eos"] + (_listed(generation.eos_token_id) or _listed(model.eos_token_id))
    # Ids beyond the vocabulary are left-overs of another model and can never be generated.
    begins, ends = ([id_ for id_ in ids if id_ in vocabulary.pieces] for ids in (begins, ends))
    if not ends:
        # llama.cpp would then take token 11, which ends a generation in GPT-2 only.
        raise unsupported(f"nothing in {checkpoint} says which token ends a generation")
    numbered = [
        *(("bos_token_id", id_) for id_ in begins[:1]),
        *zip(_END_KEYS, dict.fromkeys(ends), strict=False),
        *(("unknown_token_id", id_) for id_ in named["unk"]),
        *(("padding_token_id", id_) for id_ in named["pad"]),
    ]
    metadata: Metadata = {f"tokenizer.ggml.{key}": id_ for key, id_ in numbered}
    metadata["tokenizer.ggml.add_bos_token"] = _is_added(
        vocabulary.file,
        asked=config.add_bos_token,
        around=vocabulary.begins_with,
        special=_text(vocabulary, begins),
    )
    metadata["tokenizer.ggml.add_eos_token"] = _is_added(
        vocabulary.file,
        asked=config.add_eos_token,
        around=vocabulary.ends_with,
        special=_text(vocabulary, ends),
    )
    return metadata


def _named_ids(file: Path, config: TokenizerConfig, vocabulary: Vocabulary) -> dict[str, list[int]]:
    """The id of each role's token; an empty list where the role has none."""
    ids = vocabulary.ids()
    texts = {role: config.named_token(role) for role in ("bos", "eos", "unk", "pad")}
    for role in ("bos", "eos"):
        if texts[role] is not None and texts[role] not in ids:
            raise corrupt(file, f"its {role}_token {texts[role]!r} is not in the vocabulary")
    return {role: [ids[text]] if text and text in ids else [] for role, text in texts.items()}


def _is_added(file: Path, *, asked: bool | None, around: str | None, special: str | None) -> bool:
    """Whether the special token is put around each text; llama.cpp knows no other one there."""
    if asked is not None:
        if asked and special is None:
            raise corrupt(file, "a token is to be put around each text, but none is named")
        return asked
    if around is not None and around != special:
        raise unsupported(f"{file} puts {around!r} around each text, which GGUF cannot say")
    return around is not None


def _text(vocabulary: Vocabulary, ids: list[int]) -> str | None:
    piece = vocabulary.pieces.get(ids[0]) if ids else None
    return piece.text if piece else None


def _listed(ids: int | list[int] | None) -> list[int]:
    if ids is None:
        return []
    return [ids] if isinstance(ids, int) else ids
