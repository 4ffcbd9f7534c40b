"""How well profiles fit a host, and why.

One way: `groups`, `precision` -> `cpu`, `gpu` (what is asked for, check by check) -> `judge`.
"""

from nimctl.core.fit.judge import Judge, engines_for

__all__ = ["Judge", "engines_for"]
