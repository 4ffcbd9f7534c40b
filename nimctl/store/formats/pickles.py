"""What the pickles in a file would import if they were loaded, found without loading them."""

import io

from nimctl.core.value import Value
from nimctl.store.formats.budget import Budget
from nimctl.store.formats.findings import LimitError, UnreadableError
from nimctl.store.formats.machine import Machine

_PROTOCOL_OPCODE = b"\x80"
# Earlier ones do not say which they are.
_PROTOCOLS = (2, 3, 4, 5)
# `torch.save` before 1.6, or when asked to, wrote `MAGIC_NUMBER` in protocol 2, four more pickles,
# then raw tensors: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/serialization.py.
_TORCH_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
_TORCH_PICKLES = 5


class PickleScan(Value):
    """What is in a source that may hold pickles, one behind the other.

    `pickles` are those that end, `imports` all that is imported, `problems` what may run code.
    `failure` says why what follows cannot be read; `is_over_limit`, that it may be readable.
    """

    pickles: int
    imports: int
    problems: tuple[str, ...]
    failure: str | None
    is_over_limit: bool


def has_protocol(head: bytes) -> bool:
    """Whether a source begins as pickles do since protocol 2."""
    return head[:1] == _PROTOCOL_OPCODE and head[1:2] in {bytes([one]) for one in _PROTOCOLS}


def scan_pickles(source: io.BufferedReader, budget: Budget) -> PickleScan:
    """Walk the pickles from the source's position on, until one cannot be read."""
    start = source.tell()
    is_torch = source.read(len(_TORCH_MAGIC)) == _TORCH_MAGIC
    source.seek(start)
    problems: dict[str, None] = {}
    pickles = imports = 0
    failure: UnreadableError | None = None
    is_over = False
    while not is_over:
        machine = Machine(budget, problems)
        try:
            machine.run(source)
            pickles += 1
            is_over = (is_torch and pickles == _TORCH_PICKLES) or not source.peek(1)
        except UnreadableError as error:
            failure = error
            is_over = True
        imports += machine.imports
    return PickleScan(
        pickles=pickles,
        imports=imports,
        problems=tuple(problems),
        failure=str(failure) if failure else None,
        is_over_limit=isinstance(failure, LimitError),
    )
