"""A checkpoint's tokenizer as GGUF metadata."""

from pathlib import Path

import msgspec

from nimctl.engines.gguf.bpe import TOKENIZER_FILE, TokenizerFile, bpe_vocabulary
from nimctl.engines.gguf.chat_template import chat_templates
from nimctl.engines.gguf.jsonfile import read_optional
from nimctl.engines.gguf.metadata import Metadata
from nimctl.engines.gguf.refusals import unsupported
from nimctl.engines.gguf.sentencepiece import MODEL_FILE, sentencepiece_vocabulary
from nimctl.engines.gguf.special_tokens import special_tokens
from nimctl.engines.gguf.tokenizer_config import TOKENIZER_CONFIG_FILE, TokenizerConfig
from nimctl.engines.gguf.vocabulary import AddedToken, Vocabulary

ADDED_TOKENS_FILE = "added_tokens.json"


def read_tokenizer(checkpoint: Path, vocabulary_size: int) -> Metadata:
    """Translate a tokenizer for a model with embeddings of `vocabulary_size` tokens.

    Raises:
        UnsupportedModelError: A tokenizer that llama.cpp does not have.
        VerificationError: A file is malformed, or the tokenizer is not that of the model.
    """
    config = read_optional(checkpoint / TOKENIZER_CONFIG_FILE, TokenizerConfig) or TokenizerConfig()
    tokenizer = read_optional(checkpoint / TOKENIZER_FILE, TokenizerFile)
    vocabulary = _trained(checkpoint, tokenizer).with_added(
        [
            *_loose(checkpoint),
            *(tokenizer.added_tokens if tokenizer else ()),
            *config.added_tokens(),
        ],
        vocabulary_size,
    )
    metadata: Metadata = {}
    if vocabulary.scored:
        config = _as_llama_tokenizer(config)
        if config.add_prefix_space is not None:
            metadata["tokenizer.ggml.add_space_prefix"] = config.add_prefix_space
    return (
        vocabulary.metadata
        | metadata
        | vocabulary.arrays(vocabulary_size)
        | special_tokens(checkpoint, config, vocabulary)
        | chat_templates(checkpoint, config)
    )


def _trained(checkpoint: Path, tokenizer: TokenizerFile | None) -> Vocabulary:
    if tokenizer and tokenizer.is_byte_level:
        return bpe_vocabulary(checkpoint / TOKENIZER_FILE, tokenizer)
    model = checkpoint / MODEL_FILE
    if model.exists():
        return sentencepiece_vocabulary(model)
    raise unsupported(
        f"{checkpoint} has no tokenizer that can be converted to GGUF",
        cause=f"it has neither a byte-level BPE {TOKENIZER_FILE} nor a {MODEL_FILE}",
    )


def _as_llama_tokenizer(config: TokenizerConfig) -> TokenizerConfig:
    """With the default of transformers' LlamaTokenizer: each text begins with bos."""
    if config.add_bos_token is not None:
        return config
    return msgspec.structs.replace(config, add_bos_token=True)


def _loose(checkpoint: Path) -> list[AddedToken]:
    """Tokens of `added_tokens.json`, which does not say whether they are special."""
    ids = read_optional(checkpoint / ADDED_TOKENS_FILE, dict[str, int]) or {}
    return [AddedToken(id=id_, content=text) for text, id_ in ids.items()]
