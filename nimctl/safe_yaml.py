"""YAML from strangers: bounded time and memory, nothing guessed, every refusal with its place.

libyaml's events are read one by one, so that a document is refused where it turns hostile and not
after it was built. A plain scalar is a number, a boolean or null only where YAML 1.1 and 1.2's core
schema (https://yaml.org/spec/1.2.2/#103-core-schema) agree that it is: `no`, `1e3`, `007` and
`12:30` are text.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple, TypeAlias

import yaml

from nimctl.core.errors import VerificationError
from nimctl.core.places import Path, path_text, shown
from nimctl.core.value import Value

Scalar: TypeAlias = bool | int | float | str | None
Tree: TypeAlias = "Scalar | list[Tree] | dict[str, Tree]"
# Which events have a tag, an anchor and a mark, the library's types do not tell.
_Event: TypeAlias = Any

_PREFIX = "tag:yaml.org,2002:"
_TEXT_TAG = f"{_PREFIX}str"
_STANDARD_TAGS = frozenset({None, _TEXT_TAG, f"{_PREFIX}seq", f"{_PREFIX}map"})
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?[0-9]+\.[0-9]*([eE][-+][0-9]+)?")
_LONGEST_NUMBER = 64
# libyaml compares each of these with all before it: 2 MB of them would keep it busy for a minute.
_MOST_TAG_DIRECTIVES = 16


class Limits(Value):
    """What a document may be at most.

    `values` counts keys too. Aliases count as often as they are used, and so does their text
    against `document_bytes`.
    """

    document_bytes: int = 16 * 2**20
    values: int = 1_000_000
    depth: int = 32


LIMITS = Limits()


def read(
    data: bytes,
    name: str,
    *,
    tags: Collection[str] = (),
    as_text: bool = False,
    limits: Limits = LIMITS,
) -> Tree:
    """Read the one document in `data`; `tags` are those of its own that it may have.

    `name` is what errors call it.

    `as_text` leaves scalars as they are written, except that a plain null is None. Values that
    aliases share are the same objects: they must not be changed.

    Raises:
        VerificationError: It is malformed, too large, or has anything that a plain document of
            mappings, lists and scalars needs not.
    """
    try:
        _check_bytes(data, limits)
        return _Reader(data, frozenset(tags), limits, as_text=as_text).document()
    except _Refused as refused:
        cause = f"{place(refused.line, refused.path)}: {refused.problem}"
        raise VerificationError(f"{name} is refused as YAML", cause=cause) from refused.__cause__


def line_of(data: bytes, path: Path) -> int:
    """The line, from 1, of the value at `path` in a document that `read` accepts.

    Of a path that leads nowhere, the line of the last value on it.
    """
    return _line_below(_events(data), path)


def place(line: int, path: Path) -> str:
    """Words for a place: "line 3, `profiles[0].tags`"."""
    return f"line {line}, `{path_text(path)}`" if path else f"line {line}"


class _Refused(Exception):  # noqa: N818 - a signal inside this module
    def __init__(self, line: int, path: Path, problem: str) -> None:
        super().__init__(problem)
        self.line = line
        self.path = path
        self.problem = problem


class _Size(NamedTuple):
    values: int
    characters: int


class _Reader:
    def __init__(self, data: bytes, tags: frozenset[str], limits: Limits, *, as_text: bool) -> None:
        self._data = data
        self._events = _events(data)
        self._tags = tags | _STANDARD_TAGS
        self._limits = limits
        self._as_text = as_text
        self._size = _Size(0, 0)
        # None while the value is being read, which an alias inside it would make endless.
        self._anchors: dict[str, tuple[Tree, _Size] | None] = {}
        self._path: list[str | int] = []

    def document(self) -> Tree:
        try:
            event = next(self._events)
            if isinstance(event, yaml.StreamEndEvent):
                return None
            tree = self._value(next(self._events))
            next(self._events)  # the document's end
            event = next(self._events)
        except yaml.YAMLError as error:
            raise _malformed(error, self._data, tuple(self._path)) from error
        if not isinstance(event, yaml.StreamEndEvent):
            raise self._refused(event, "a second document begins here")
        return tree

    def _value(self, event: _Event) -> Tree:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        before = self._size
        anchor = event.anchor
        if anchor:
            self._anchors[anchor] = None
        if event.tag not in self._tags:
            raise self._refused(event, f"the tag {shown(event.tag)} is not allowed")
        self._count(event, _Size(1, len(getattr(event, "value", ""))))
        tree: Tree
        if isinstance(event, yaml.ScalarEvent):
            tree = self._scalar(event)
        elif len(self._path) >= self._limits.depth:
            raise self._refused(event, f"it is nested deeper than {self._limits.depth} levels")
        elif isinstance(event, yaml.SequenceStartEvent):
            tree = self._list()
        else:
            tree = self._mapping()
        if anchor:
            values, characters = self._size
            added = _Size(values - before.values, characters - before.characters)
            self._anchors[anchor] = (tree, added)
        return tree

    def _alias(self, event: _Event) -> Tree:
        known = self._anchors.get(event.anchor)
        if known is None:
            is_open = event.anchor in self._anchors
            problem = "refers to itself" if is_open else "refers to nothing"
            raise self._refused(event, f"the alias {shown(event.anchor)} {problem}")
        tree, size = known
        self._count(event, size)
        return tree

    def _list(self) -> list[Tree]:
        items: list[Tree] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            self._path.append(len(items))
            items.append(self._value(event))
            self._path.pop()
        return items

    def _mapping(self) -> dict[str, Tree]:
        entries: dict[str, Tree] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event)
            if key in entries:
                raise self._refused(event, f"the key {shown(key)} stands here twice")
            self._path.append(key)
            entries[key] = self._value(next(self._events))
            self._path.pop()
        return entries

    def _key(self, event: _Event) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._refused(event, "a key is no plain text")
        if event.anchor or event.tag not in (None, _TEXT_TAG):
            raise self._refused(event, f"the key {shown(event.value)} has an anchor or a tag")
        if event.value == "<<" and event.implicit[0]:
            raise self._refused(event, "merge keys (<<) are not allowed")
        self._count(event, _Size(1, len(event.value)))
        return event.value

    def _scalar(self, event: _Event) -> Scalar:
        text: str = event.value
        is_plain = event.implicit[0]
        if is_plain and text in _CONSTANTS and (not self._as_text or _CONSTANTS[text] is None):
            return _CONSTANTS[text]
        if not is_plain or self._as_text or len(text) > _LONGEST_NUMBER:
            return text
        if _INTEGER.fullmatch(text):
            return int(text)
        return float(text) if _FLOAT.fullmatch(text) else text

    def _count(self, event: _Event, more: _Size) -> None:
        values = self._size.values + more.values
        characters = self._size.characters + more.characters
        self._size = _Size(values, characters)
        if values > self._limits.values:
            raise self._refused(event, f"it holds more than {self._limits.values:,} values")
        if characters > self._limits.document_bytes:
            limit = self._limits.document_bytes
            raise self._refused(event, f"its aliases stand for more than {limit:,} characters")

    def _refused(self, event: _Event, problem: str) -> _Refused:
        return _Refused(_line(event), tuple(self._path), problem)


def _events(data: bytes) -> Iterator[_Event]:
    """The events after the stream's start; libyaml parses ten times as fast as PyYAML itself."""
    events = yaml.parse(data, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
    next(events)
    yield from events


def _check_bytes(data: bytes, limits: Limits) -> None:
    if len(data) > limits.document_bytes:
        raise _Refused(1, (), f"the document is larger than {limits.document_bytes:,} bytes")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _Refused(line, (), f"it is no UTF-8: {error.reason}") from None
    if data.count(b"%TAG") > _MOST_TAG_DIRECTIVES:
        raise _Refused(1, (), f"there are more than {_MOST_TAG_DIRECTIVES} %TAG directives")


def _line_below(events: Iterator[_Event], path: Path) -> int:
    if isinstance(next(events), yaml.StreamEndEvent):
        return 1
    event: _Event | None = next(events)
    line = _line(event)
    for step in path:
        event = _child(events, event, step)
        if event is None:
            break
        line = _line(event)
    return line


def _line(event: _Event) -> int:
    number: int = event.start_mark.line
    return number + 1


def _child(events: Iterator[_Event], parent: _Event, step: str | int) -> _Event | None:
    """Go to the value of a key or at an index, and return the event that it begins with."""
    if isinstance(parent, yaml.MappingStartEvent):
        while isinstance(key := next(events), yaml.ScalarEvent):
            value = next(events)
            if key.value == step:
                return value
            _skip(events, value)
    elif isinstance(parent, yaml.SequenceStartEvent):
        index = 0
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            if index == step:
                return item
            _skip(events, item)
            index += 1
    return None


def _skip(events: Iterator[_Event], event: _Event) -> None:
    depth = 0
    while True:
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth == 0:
            return
        event = next(events)


def _malformed(error: yaml.YAMLError, data: bytes, path: Path) -> _Refused:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return _Refused(error.problem_mark.line + 1, path, error.problem or "it is no YAML")
    position = getattr(error, "position", 0)  # a yaml.reader.ReaderError
    line = data.count(b"\n", 0, position) + 1
    return _Refused(line, path, getattr(error, "reason", None) or "it is no YAML")
