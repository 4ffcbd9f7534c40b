"""Containers on an engine that may not lift limits: without those, and that is said once."""

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from nimctl.core.containers import ContainerSpec
from nimctl.core.errors import LimitRefusedError

Result = TypeVar("Result")

# runc names a limit by its number (include/uapi/asm-generic/resource.h), crun by its name.
_NAMES = {"3": "stack", "7": "nofile", "8": "memlock"}
_NAMED = re.compile(r"rlimit type (?P<number>\d+)|RLIMIT_(?P<name>[A-Z]+)")


class Ulimits:
    """The limits that one engine was seen to refuse."""

    def __init__(self) -> None:
        self._refused: set[str] = set()

    def allowed(
        self,
        spec: ContainerSpec,
        act: Callable[[ContainerSpec], Result],
        say: Callable[[str], None],
    ) -> Result:
        """Do something with a container, without the limits that the engine may not lift.

        `act` leaves nothing behind when it raises LimitRefusedError.
        """
        while True:
            lifted = {
                name: limit for name, limit in spec.ulimits.items() if name not in self._refused
            }
            try:
                return act(msgspec.structs.replace(spec, ulimits=lifted))
            except LimitRefusedError as error:
                if not lifted:
                    raise
                refused = _named(error, lifted)
                self._refused.update(refused)
                say(
                    f"WARNING: {spec.name} runs without the ulimit {', '.join(sorted(refused))}: "
                    f"{error.message} ({error.cause}); {error.hint}"
                )


def _named(error: LimitRefusedError, lifted: dict[str, int]) -> set[str]:
    """Those that the engine says it refuses; all of them where it names none that was asked for."""
    found = _NAMED.search(error.cause or "")
    name = found and (found["name"] or _NAMES.get(found["number"], "")).lower()
    return {name} if name and name in lifted else set(lifted)
