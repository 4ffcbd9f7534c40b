"""How much an archive may become: what keeps a small download from filling the machine."""

from nimctl.core.errors import VerificationError
from nimctl.core.value import Value


class ExtractLimits(Value):
    """Bounds of one archive.

    `max_total_bytes` is for all files together. `max_ratio` is bytes unpacked for each byte
    packed; it holds at every moment of the stream, once `ratio_free_bytes` are unpacked: deflate
    reaches 1029 on zeros, which small archives may be full of.
    """

    max_members: int = 100_000
    max_name_bytes: int = 4096
    max_total_bytes: int | None = None
    max_ratio: float = 200.0
    ratio_free_bytes: int = 16 * 1024 * 1024


def exceeded(what: str) -> VerificationError:
    """The archive goes beyond a limit."""
    return VerificationError(
        f"the archive is refused: {what}", cause="it may be made to fill the disk"
    )


class Inflation:
    """Bytes that went into a decompressor against bytes that came out."""

    def __init__(self, limits: ExtractLimits) -> None:
        self._limits = limits
        self._packed = 0
        self._unpacked = 0

    def packed(self, count: int) -> None:
        """Count bytes as they arrive."""
        self._packed += count

    def unpacked(self, count: int) -> None:
        """Count bytes as they come out.

        Raises:
            VerificationError: They are too many for what went in.
        """
        self._unpacked += count
        limits = self._limits
        allowed = max(limits.ratio_free_bytes, self._packed * limits.max_ratio)
        if self._unpacked > allowed:
            raise exceeded(f"it unpacks to more than {limits.max_ratio:g} times its size")
