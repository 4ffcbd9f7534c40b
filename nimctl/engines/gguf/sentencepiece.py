"""SentencePiece vocabularies from `tokenizer.model`.

Fields: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto.
llama.cpp merges pieces by score, which is SentencePiece's BPE (not its unigram model).
"""

from pathlib import Path

from nimctl.engines.gguf.protobuf import Message
from nimctl.engines.gguf.refusals import corrupt, unsupported
from nimctl.engines.gguf.vocabulary import Piece, TokenType, Vocabulary

MODEL_FILE = "tokenizer.model"

_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_TEXT, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _UNIGRAM, _BPE = 3, 1, 2
_CHARACTER_MAP, _ADD_DUMMY_PREFIX, _REMOVE_EXTRA_WHITESPACES = 2, 3, 4

_BYTES = 256
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"


def sentencepiece_vocabulary(file: Path) -> Vocabulary:
    """Read and translate a SentencePiece model; raises what `parse_model` does."""
    return parse_model(file, file.read_bytes())


def parse_model(file: Path, content: bytes) -> Vocabulary:
    """Translate the content of a SentencePiece model.

    Raises:
        UnsupportedModelError: It is no BPE model with bytes, or normalises text.
        VerificationError: It is no SentencePiece model.
    """
    try:
        model = Message(content)
        pieces = [_piece(message) for message in model.messages(_PIECES)]
        # Of a field that stands several times the last one counts.
        trainer = [Message(b""), *model.messages(_TRAINER)][-1]
        normalizer = [Message(b""), *model.messages(_NORMALIZER)][-1]
        model_type = trainer.integer(_MODEL_TYPE, _UNIGRAM)
        strips = normalizer.integer(_REMOVE_EXTRA_WHITESPACES, default=True)
        maps = normalizer.content(_CHARACTER_MAP)
        prefixes = normalizer.integer(_ADD_DUMMY_PREFIX, default=True)
    except ValueError as error:
        raise corrupt(file, f"it is no SentencePiece model: {error}") from error
    if model_type != _BPE:
        raise unsupported(f"{file} is no BPE model, which is the only kind that llama.cpp has")
    # Without bytes for unknown characters llama.cpp fails at the first one.
    if sum(piece.type is TokenType.BYTE for piece in pieces) != _BYTES:
        raise unsupported(f"{file} has no pieces for single bytes")
    if maps or strips:
        raise unsupported(f"{file} normalises text, which llama.cpp does not do")
    return Vocabulary(
        file=file,
        pieces=dict(enumerate(pieces)),
        metadata={
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.pre": "default",
            "tokenizer.ggml.add_space_prefix": bool(prefixes),
        },
        scored=True,
    )


def _piece(message: Message) -> Piece:
    text = message.content(_TEXT).decode()
    kind = TokenType(message.integer(_TYPE, TokenType.NORMAL))
    if kind is TokenType.USER_DEFINED:
        # llama.cpp looks for these in the text as it comes, before spaces are escaped.
        text = text.replace(_SPACE, " ")
    return Piece(text=text, type=kind, score=message.floating(_SCORE))
