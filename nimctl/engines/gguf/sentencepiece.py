"""SentencePiece vocabularies from `tokenizer.model`.

Fields: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto; wire
format: https://protobuf.dev/programming-guides/encoding/. llama.cpp merges pieces by score, which
is SentencePiece's BPE (not its unigram model).
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from nimctl.engines.gguf.refusals import corrupt, unsupported
from nimctl.engines.gguf.vocabulary import Piece, TokenType, Vocabulary

MODEL_FILE = "tokenizer.model"

_PIECES = 1
_SETTINGS = _TRAINER, _NORMALIZER = 2, 3
_PIECE_TEXT, _PIECE_SCORE, _PIECE_TYPE = 1, 2, 3
_TRAINER_MODEL_TYPE, _MODEL_TYPE_BPE = 3, 2
_CHARACTER_MAP, _ADD_DUMMY_PREFIX, _REMOVE_EXTRA_WHITESPACES = 2, 3, 4
_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
_VARINT_BITS = 70
_CONTINUED = 0x80
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
        fields = list(_fields(content))
        pieces = [_piece(_message(value)) for number, value in fields if number == _PIECES]
        settings = {number: _message(value) for number, value in fields if number in _SETTINGS}
    except ValueError as error:
        raise corrupt(file, f"it is no SentencePiece model: {error}") from error
    trainer, normalizer = (settings.get(number, {}) for number in _SETTINGS)
    if trainer.get(_TRAINER_MODEL_TYPE) != _MODEL_TYPE_BPE:
        raise unsupported(f"{file} is no BPE model, which is the only kind that llama.cpp has")
    # Without bytes for unknown characters llama.cpp fails at the first one.
    if sum(piece.type is TokenType.BYTE for piece in pieces) != 1 << 8:
        raise unsupported(f"{file} has no pieces for single bytes")
    if normalizer.get(_CHARACTER_MAP) or normalizer.get(_REMOVE_EXTRA_WHITESPACES, 1):
        raise unsupported(f"{file} normalises text, which llama.cpp does not do")
    return Vocabulary(
        file=file,
        pieces=dict(enumerate(pieces)),
        metadata={
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.pre": "default",
            "tokenizer.ggml.add_space_prefix": bool(normalizer.get(_ADD_DUMMY_PREFIX, 1)),
        },
        scored=True,
    )


def _piece(fields: dict[int, int | bytes]) -> Piece:
    text = _bytes(fields.get(_PIECE_TEXT, b"")).decode()
    kind = TokenType(int(fields.get(_PIECE_TYPE, TokenType.NORMAL)))
    (score,) = struct.unpack("<f", _bytes(fields.get(_PIECE_SCORE, bytes(4))))
    if kind is TokenType.USER_DEFINED:
        # llama.cpp looks for these in the text as it comes, before spaces are escaped.
        text = text.replace(_SPACE, " ")
    return Piece(text=text, type=kind, score=score)


def _message(value: int | bytes) -> dict[int, int | bytes]:
    return dict(_fields(_bytes(value)))


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where bytes belong")  # noqa: TRY004 - of the file, not of the caller
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Split a protocol buffer message into (field number, value); fixed-size values as bytes."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire_type == _LENGTH_DELIMITED:
            length, position = _varint(data, position)
        elif wire_type in _FIXED_BYTES:
            length = _FIXED_BYTES[wire_type]
        else:
            raise ValueError(f"wire type {wire_type} at byte {position}")
        if position + length > len(data):
            raise ValueError(f"field {number} ends behind the last byte")
        yield number, data[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, _VARINT_BITS, 7):
        if position >= len(data):
            raise ValueError("the last number is cut off")
        byte = data[position]
        position += 1
        value |= (byte & ~_CONTINUED) << shift
        if byte < _CONTINUED:
            return value, position
    raise ValueError(f"the number before byte {position} is too long")
