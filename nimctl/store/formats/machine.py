"""An unpickler of symbols: it moves them as `pickle.Unpickler` moves objects, and makes none.

A symbol is a string, an import, or None for all that is of no interest. What moves the stack
follows `pickle.py` of the standard library; where that fails, this fails too, so what stands behind
would never run. Where it may fail for other reasons, this goes on and sees more.
"""

import io
from collections.abc import Callable
from typing import TypeAlias

from nimctl.core.value import Value
from nimctl.store.formats.budget import Budget
from nimctl.store.formats.findings import LimitError, UnreadableError, shown
from nimctl.store.formats.imports import ALLOWED
from nimctl.store.formats.opcodes import Opcode, read_opcode

# By then the verdict is clear.
_MOST_PROBLEMS = 20
_TEXT_OVERHEAD_BYTES = 64  # of a string in CPython
_ENCODINGS = {
    "SHORT_BINUNICODE": "utf-8",
    "BINUNICODE": "utf-8",
    "BINUNICODE8": "utf-8",
    "UNICODE": "raw-unicode-escape",
    "SHORT_BINSTRING": "ascii",
    "BINSTRING": "ascii",
    "STRING": "ascii",
}
# How many things an opcode takes.
_TAKES = {
    "TUPLE1": 1,
    "TUPLE2": 2,
    "TUPLE3": 3,
    "REDUCE": 2,
    "NEWOBJ": 2,
    "NEWOBJ_EX": 3,
    "BINPERSID": 1,
    "APPEND": 1,
    "SETITEM": 2,
}


class Import(Value):
    """A symbol of something that was imported."""

    name: str


Symbol: TypeAlias = str | Import | None


class Machine:
    """Runs one pickle; `imports` counts, and `problems` takes up what may run code."""

    def __init__(self, budget: Budget, problems: dict[str, None]) -> None:
        self.imports = 0
        self._problems = problems
        self._budget = budget
        self._text_bytes = budget.limits.text_bytes
        self._stack: list[Symbol] = []
        self._below: list[list[Symbol]] = []  # what lies below each mark
        self._memo: dict[int, Symbol] = {}

    def run(self, source: io.BufferedReader) -> None:
        """Run to the end of the pickle.

        Raises:
            UnreadableError: An unpickler would fail here, too, or a limit is reached.
        """
        name = ""
        try:
            while name != "STOP":
                self._budget.spend_opcode()
                opcode = read_opcode(source)
                name = opcode.name
                _STEPS.get(name, Machine.push)(self, opcode)
        except IndexError:
            raise UnreadableError(f"{name} finds too little on the stack") from None

    def nothing(self, opcode: Opcode) -> None:
        """Leave the stack as it is."""

    def push(self, _: Opcode) -> None:
        """Put something of no interest there."""
        self._stack.append(None)

    def push_text(self, opcode: Opcode) -> None:
        """Put a string there; None, if it is too long or damaged to name an import."""
        text = None
        if opcode.argument is not None:
            self._text_bytes -= len(opcode.argument) + _TEXT_OVERHEAD_BYTES
            if self._text_bytes >= 0:
                text = _decoded(opcode.name, opcode.argument)
        self._stack.append(text)

    def pop(self, _: Opcode) -> None:
        """Take the top away, even if it is a mark."""
        if self._stack:
            self._stack.pop()
        else:
            self._stack = self._below.pop()

    def stop(self, _: Opcode) -> None:
        """Take away what was made."""
        self._stack.pop()

    def duplicate(self, _: Opcode) -> None:
        """Put the top there once more."""
        self._stack.append(self._stack[-1])

    def mark(self, _: Opcode) -> None:
        """Begin a list of things."""
        if len(self._below) >= self._budget.limits.nested_marks:
            raise LimitError(f"it nests more than {len(self._below):,} deep")
        self._below.append(self._stack)
        self._stack = []

    def drop_to_mark(self, _: Opcode) -> None:
        """Take away what lies above the mark."""
        self._stack = self._below.pop()

    def replace(self, opcode: Opcode) -> None:
        """Make one thing of some; calls are among these, but only imports can be called."""
        self._take(_TAKES[opcode.name])
        self._stack.append(None)

    def replace_to_mark(self, opcode: Opcode) -> None:
        """Make one thing of all above the mark."""
        self.drop_to_mark(opcode)
        self._stack.append(None)

    def change(self, opcode: Opcode) -> None:
        """Put some things into the one below them."""
        self._take(_TAKES[opcode.name])
        self._top()

    def change_to_mark(self, opcode: Opcode) -> None:
        """Put all above the mark into the one below it."""
        self.drop_to_mark(opcode)
        self._top()

    def build(self, _: Opcode) -> None:
        """Set attributes of an object; those of what was imported are everybody's."""
        self._stack.pop()
        changed = self._top()
        if isinstance(changed, Import):
            self._report(f"changes {shown(changed.name)}")

    def put(self, opcode: Opcode) -> None:
        """Remember the top."""
        if len(self._memo) >= self._budget.limits.memo_entries:
            raise LimitError(f"it remembers more than {len(self._memo):,} things")
        index = len(self._memo) if opcode.name == "MEMOIZE" else _index(opcode)
        self._memo[index] = self._top()

    def get(self, opcode: Opcode) -> None:
        """Put there what was remembered."""
        index = _index(opcode)
        if index not in self._memo:
            raise UnreadableError(f"it remembers nothing as {index}")
        self._stack.append(self._memo[index])

    def import_lines(self, opcode: Opcode) -> None:
        """Import what two lines name."""
        module, name = opcode.argument, opcode.second_line
        try:
            symbol = self._import(
                None if module is None else module.decode(), None if name is None else name.decode()
            )
        except UnicodeDecodeError as error:
            raise UnreadableError("the name of an import is not UTF-8") from error
        self._stack.append(symbol)

    def import_and_call(self, opcode: Opcode) -> None:
        """Import what two lines name, and call it with all above the mark."""
        self.import_lines(opcode)
        self.replace_to_mark(opcode)

    def import_from_stack(self, _: Opcode) -> None:
        """Import what two strings name; a name that is no string here was made by a call."""
        module, name = self._take(2)
        self._stack.append(
            self._import(
                module if isinstance(module, str) else None, name if isinstance(name, str) else None
            )
        )

    def import_extension(self, opcode: Opcode) -> None:
        """Import what `copyreg.add_extension` gave a number, in the program that loads."""
        self.imports += 1
        self._report(f"imports what is registered as extension {_index(opcode)}")
        self._stack.append(None)

    def _top(self) -> Symbol:
        return self._stack[-1]

    def _take(self, count: int) -> list[Symbol]:
        if len(self._stack) < count:
            raise IndexError
        taken = self._stack[-count:]
        del self._stack[-count:]
        return taken

    def _import(self, module: str | None, name: str | None) -> Import:
        self.imports += 1
        if module is None or name is None:
            self._report("imports something and hides its name")
            return Import(name="what it imported")
        full_name = f"{module}.{name}"
        if full_name not in ALLOWED:
            self._report(f"imports {shown(full_name)}")
        return Import(name=full_name)

    def _report(self, problem: str) -> None:
        if len(self._problems) >= _MOST_PROBLEMS and problem not in self._problems:
            raise LimitError(f"it has more than {_MOST_PROBLEMS} things that weights do not need")
        self._problems[problem] = None


_Step: TypeAlias = Callable[[Machine, Opcode], None]
# Opcodes that are not here put one thing on the stack.
_STEPS: dict[str, _Step] = {
    **dict.fromkeys(("PROTO", "FRAME", "READONLY_BUFFER"), Machine.nothing),
    **dict.fromkeys(_ENCODINGS, Machine.push_text),
    **dict.fromkeys(_TAKES, Machine.replace),
    **dict.fromkeys(("APPEND", "SETITEM"), Machine.change),
    **dict.fromkeys(("TUPLE", "LIST", "DICT", "FROZENSET", "OBJ"), Machine.replace_to_mark),
    **dict.fromkeys(("APPENDS", "SETITEMS", "ADDITEMS"), Machine.change_to_mark),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), Machine.get),
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), Machine.import_extension),
    "BUILD": Machine.build,
    "DUP": Machine.duplicate,
    "GLOBAL": Machine.import_lines,
    "INST": Machine.import_and_call,
    "MARK": Machine.mark,
    "POP": Machine.pop,
    "POP_MARK": Machine.drop_to_mark,
    "STACK_GLOBAL": Machine.import_from_stack,
    "STOP": Machine.stop,
}


def _decoded(name: str, data: bytes) -> str | None:
    # Escapes stay what they are: no import that is allowed has any.
    text = data.strip()[1:-1] if name == "STRING" else data
    try:
        return text.decode(_ENCODINGS[name])
    except UnicodeDecodeError:
        return None


def _index(opcode: Opcode) -> int:
    """A number: decimal in protocol 0, else little-endian."""
    if opcode.argument is None:
        raise LimitError("an index has more digits than any needs")
    if opcode.name not in ("PUT", "GET"):
        return int.from_bytes(opcode.argument, "little")
    try:
        return int(opcode.argument.partition(b"\0")[0])  # C ends strings there
    except ValueError as error:
        raise UnreadableError("an index is no number") from error
