"""When to try again. Pure, but for the dice."""

import email.utils
import random
from datetime import UTC, datetime


def backoff_s(failures: int, *, base_s: float, limit_s: float) -> float:
    """Exponential back-off with full jitter, in seconds; `failures` counts from 1.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    ceiling = min(limit_s, base_s * 2.0 ** min(failures - 1, 30))
    return random.uniform(0, ceiling)  # noqa: S311 - spreads load, guards nothing


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3); None if it says nothing."""
    if value is None:
        return None
    value = value.strip()
    if value.isdecimal() and value.isascii():
        return float(value[:9])
    try:
        when = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - now).total_seconds())
