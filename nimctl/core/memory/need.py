"""What a server takes, and how much it is asked to take on."""

from enum import StrEnum, unique

from nimctl.core.value import Value


@unique
class Grade(StrEnum):
    """How well a model fits the memory that it is given, best first."""

    OK = "ok"
    TIGHT = "tight"
    NO_FIT = "no-fit"


class MemoryNeed(Value):
    """Bytes that a server takes: of each of its GPUs, or of the host's memory without one.

    `kv_cache_bytes` hold the sequences that were asked for, `reserve_bytes` is what a runtime
    leaves unused beside them, `kv_bytes_per_token` what a token of a sequence of full length takes
    on average. `kv_tokens` and `sequences` of full length are what all the memory that is left
    would hold; `fitting_context` is the longest that would still fit, None when none does.
    """

    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    runtime_bytes: int
    reserve_bytes: int = 0
    kv_bytes_per_token: int = 0
    kv_tokens: int = 0
    sequences: int = 0
    fitting_context: int | None = None
    grade: Grade | None = None

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return (
            self.weights_bytes
            + self.kv_cache_bytes
            + self.compute_bytes
            + self.runtime_bytes
            + self.reserve_bytes
        )


class Capacity(Value):
    """How much a server takes on at once: tokens of one sequence, and sequences."""

    max_model_len: int
    max_num_seqs: int


class CapacityWish(Value):
    """A capacity as far as it was asked for."""

    max_model_len: int | None = None
    max_num_seqs: int | None = None


ANY_CAPACITY = CapacityWish()
