"""The base of all values: immutable, keyword-only, strict, and JSON both ways."""

from typing import Any, dataclass_transform

import msgspec


class _KeywordOnly(msgspec.StructMeta):
    # msgspec inherits `frozen` and `forbid_unknown_fields` but not `kw_only`.
    def __new__(
        mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any
    ) -> Any:
        config.setdefault("kw_only", True)
        return super().__new__(mcls, name, bases, namespace, **config)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Value(msgspec.Struct, metaclass=_KeywordOnly, frozen=True, forbid_unknown_fields=True):
    """A frozen struct that takes keywords only and refuses unknown keys.

    The checkers need `dataclass_transform` on this class, not on the metaclass, to see both rules.
    """


def canonical_json(value: object) -> bytes:
    """The one encoding that digests are taken over: sorted keys, no spaces, UTF-8."""
    return msgspec.json.encode(msgspec.to_builtins(value), order="deterministic")
