"""Vocabularies as llama.cpp wants them: every id from 0 to the model's size, each text once."""

from collections.abc import Iterable, Mapping
from enum import IntEnum, unique
from pathlib import Path

import msgspec

from nimctl.core.value import Value
from nimctl.engines.gguf.metadata import Metadata
from nimctl.engines.gguf.refusals import corrupt

_ADDED_SCORE = -1000.0


@unique
class TokenType(IntEnum):
    """GGUF's token types; sentencepiece_model.proto has the same names and numbers."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class Piece(Value):
    """One token; the score counts in SentencePiece vocabularies only."""

    text: str
    type: TokenType = TokenType.NORMAL
    score: float = 0.0


class AddedToken(msgspec.Struct, frozen=True):
    """A token that was added to a trained vocabulary; special ones are never shown as text."""

    id: int
    content: str
    special: bool = False

    def piece(self) -> Piece:
        """The token as GGUF has it."""
        kind = TokenType.CONTROL if self.special else TokenType.USER_DEFINED
        return Piece(text=self.content, type=kind, score=_ADDED_SCORE)


class Vocabulary(Value):
    """A tokenizer's pieces by id, and what its file says of special tokens around a text.

    `metadata` has full keys; `begins_with` and `ends_with` are the texts of the tokens that are
    put around each text.
    """

    file: Path
    pieces: dict[int, Piece]
    metadata: Metadata
    scored: bool
    begins_with: str | None = None
    ends_with: str | None = None

    def with_added(self, tokens: Iterable[AddedToken], size: int) -> "Vocabulary":
        """The vocabulary with tokens added, or told apart as special.

        Those without one of the model's `size` embeddings are left out: some checkpoints have a
        padding token beside the model, which can neither be read nor generated.
        """
        added = {token.id: token.piece() for token in tokens if token.id < size}
        return msgspec.structs.replace(self, pieces=self.pieces | added)

    def ids(self) -> Mapping[str, int]:
        """Ids by text."""
        return {piece.text: id_ for id_, piece in self.pieces.items()}

    def arrays(self, size: int) -> Metadata:
        """GGUF's arrays of `size` tokens; ids without a token are filled up as unused.

        Raises:
            VerificationError: There are more tokens than `size`, or two have the same text.
        """
        outside = next((id_ for id_ in self.pieces if not 0 <= id_ < size), None)
        if outside is not None:
            text = self.pieces[outside].text
            raise corrupt(self.file, f"{text!r} has the id {outside}, the model {size} embeddings")
        pieces = [self.pieces.get(id_) or _unused(id_) for id_ in range(size)]
        first: dict[str, int] = {}
        for id_, piece in enumerate(pieces):
            if first.setdefault(piece.text, id_) != id_:
                raise corrupt(self.file, f"{piece.text!r} has two ids: {first[piece.text]}, {id_}")
        arrays: Metadata = {
            "tokenizer.ggml.tokens": [piece.text for piece in pieces],
            "tokenizer.ggml.token_type": [int(piece.type) for piece in pieces],
        }
        if self.scored:
            arrays["tokenizer.ggml.scores"] = [piece.score for piece in pieces]
        return arrays


def _unused(id_: int) -> Piece:
    return Piece(text=f"[PAD{id_}]", type=TokenType.UNUSED, score=_ADDED_SCORE)
