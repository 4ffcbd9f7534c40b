"""One flag of a command-line tool, as its parser has it."""

from typing import Literal, NamedTuple


class Flag(NamedTuple):
    """What a flag takes: a `switch` nothing, `several` one or more values of its kind."""

    kind: Literal["str", "int", "float", "bool"]
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    switch: bool = False
    several: bool = False
