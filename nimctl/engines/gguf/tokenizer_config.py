"""`tokenizer_config.json`."""

from collections.abc import Iterator

import msgspec

from nimctl.engines.gguf.vocabulary import AddedToken

TOKENIZER_CONFIG_FILE = "tokenizer_config.json"


class _Token(msgspec.Struct, frozen=True):
    content: str


class _AddedToken(msgspec.Struct, frozen=True):
    content: str
    special: bool = False


class _NamedTemplate(msgspec.Struct, frozen=True):
    name: str
    template: str


class TokenizerConfig(msgspec.Struct, frozen=True):
    """The fields that conversion depends on; unknown ones are ignored."""

    bos_token: str | _Token | None = None
    eos_token: str | _Token | None = None
    unk_token: str | _Token | None = None
    pad_token: str | _Token | None = None
    add_bos_token: bool | None = None
    add_eos_token: bool | None = None
    add_prefix_space: bool | None = None
    added_tokens_decoder: dict[int, _AddedToken] = {}
    chat_template: str | list[_NamedTemplate] | None = None

    def named_token(self, role: str) -> str | None:
        """The text of the token of a role, for example `bos`."""
        token = getattr(self, f"{role}_token")
        return token.content if isinstance(token, _Token) else token

    def added_tokens(self) -> Iterator[AddedToken]:
        """The tokens that were added to the trained vocabulary."""
        for id_, token in self.added_tokens_decoder.items():
            yield AddedToken(id=id_, content=token.content, special=token.special)
