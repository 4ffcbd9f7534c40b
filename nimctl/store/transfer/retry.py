"""When to try again: but for the dice, pure."""

import random


def backoff_s(failures: int, *, base_s: float, limit_s: float) -> float:
    """Exponential back-off with full jitter, in seconds; `failures` counts from 1.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    ceiling = min(limit_s, base_s * 2.0 ** min(failures - 1, 30))
    return random.uniform(0, ceiling)  # noqa: S311 - spreads load, guards nothing
