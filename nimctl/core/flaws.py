"""Flaws of a document: all of them, each with the place where it is."""

import difflib
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Union

import msgspec

from nimctl.core.places import Path, path_text, shown
from nimctl.core.value import Value


class Flaw(Value):
    """Something wrong at one place: `path` leads there from the top, by keys and indices."""

    path: Path
    message: str

    @property
    def place(self) -> str:
        """The path as text, `profiles[0].precision`."""
        return path_text(self.path)


def meant(value: object, known: Iterable[object]) -> str:
    """What may have been meant by a value that is not among those known."""
    names = [str(one) for one in known]
    near = difflib.get_close_matches(str(value), names, n=1)
    return f"did you mean `{near[0]}`?" if near else f"there is {', '.join(names)}"


def schema_flaws(document: object, kind: Any, path: Path = ()) -> Iterator[Flaw]:
    """Everything in which a document of dicts, lists and scalars differs from its type.

    msgspec stops at the first; whoever writes a file by hand wants to see them all. `kind` is a
    `Value` class, or any type that one has as a field.
    """
    kind = _without_none(kind) if document is not None else kind
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield from _struct_flaws(document, kind, path)
    elif origin is Annotated and typing.get_origin(arguments[0]) in (tuple, dict):
        inside = list(schema_flaws(document, arguments[0], path))
        yield from inside or _scalar_flaws(document, kind, path)
    elif origin is tuple and isinstance(document, list):
        for index, item in enumerate(document):
            yield from schema_flaws(item, arguments[0], (*path, index))
    elif origin is dict and isinstance(document, dict):
        for key, item in document.items():
            yield from schema_flaws(item, arguments[1], (*path, str(key)))
    else:
        yield from _scalar_flaws(document, kind, path)


def _struct_flaws(document: object, kind: type[msgspec.Struct], path: Path) -> Iterator[Flaw]:
    if not isinstance(document, dict):
        yield Flaw(path=path, message=f"expected a mapping, found {_described(document)}")
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key in document:
        if key not in fields:
            message = f"unknown key; {meant(key, fields)}"
            yield Flaw(path=(*path, str(key)), message=message)
    hints = typing.get_type_hints(kind, include_extras=True)
    for name, field in fields.items():
        if name in document:
            yield from schema_flaws(document[name], hints[field.name], (*path, name))
        elif field.required:
            yield Flaw(path=path, message=f"`{name}` is missing")


def _scalar_flaws(document: object, kind: Any, path: Path) -> Iterator[Flaw]:
    choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
    if isinstance(document, (str, int)) and choices and document not in choices:
        yield Flaw(
            path=path, message=f"{_described(document)} is not known; {meant(document, choices)}"
        )
        return
    try:
        msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        reason = str(error).partition(" - at ")[0]
        yield Flaw(path=path, message=f"{reason[:1].lower()}{reason[1:]}: {_described(document)}")


def _without_none(kind: Any) -> Any:
    """The one type that an optional field has when it is given."""
    if typing.get_origin(kind) is Annotated:
        return kind
    if typing.get_origin(kind) in (Union, types.UnionType):
        others = [one for one in typing.get_args(kind) if one is not types.NoneType]
        return others[0] if len(others) == 1 else kind
    return kind


def _described(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str():
            return shown(value)
    return str(value)[:60]
