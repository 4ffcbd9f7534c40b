"""How much the scan of one file may cost, so that no file can stall it or fill the memory."""

from nimctl.core.value import Value
from nimctl.store.extract.limits import ExtractLimits
from nimctl.store.formats.findings import LimitError

_ARCHIVE = ExtractLimits()


class ScanLimits(Value):
    """Bounds of one file, with all that is inside it.

    A checkpoint of 1,000 tensors has some 50,000 opcodes; a vocabulary of 250,000 words 1,500,000.
    `text_bytes` bounds the strings that are remembered, in one pickle at a time, because a later
    opcode may take them for the name of an import.
    """

    opcodes: int = 5_000_000
    memo_entries: int = 1_000_000
    nested_marks: int = 100_000
    text_bytes: int = 32 * 1024 * 1024
    members: int = _ARCHIVE.max_members
    name_bytes: int = _ARCHIVE.max_name_bytes
    inflation_ratio: float = _ARCHIVE.max_ratio
    inflation_free_bytes: int = _ARCHIVE.ratio_free_bytes
    archive_depth: int = 3


class Budget:
    """What is left of the limits while a file of `file_bytes` is scanned."""

    def __init__(self, limits: ScanLimits, file_bytes: int) -> None:
        self.limits = limits
        self._opcodes = limits.opcodes
        self._members = limits.members
        self._inflated_bytes = max(
            limits.inflation_free_bytes, int(file_bytes * limits.inflation_ratio)
        )

    def spend_opcode(self) -> None:
        """Count an opcode.

        Raises:
            LimitError: It is one too many.
        """
        self._opcodes -= 1
        if self._opcodes < 0:
            raise LimitError(f"it has more than {self.limits.opcodes:,} opcodes")

    def spend_member(self) -> None:
        """Count a member of an archive.

        Raises:
            LimitError: It is one too many.
        """
        self._members -= 1
        if self._members < 0:
            raise LimitError(f"it has more than {self.limits.members:,} members")

    def spend_inflated(self, count: int) -> None:
        """Count bytes that come out of a decompressor, each time they do.

        Raises:
            LimitError: They are too many for the file's size.
        """
        self._inflated_bytes -= count
        if self._inflated_bytes < 0:
            raise LimitError(
                f"it inflates to more than {self.limits.inflation_ratio:g} times its size"
            )
