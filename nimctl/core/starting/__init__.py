"""A server that starts: what its log says of how far it is, and whether it can still succeed."""

from nimctl.core.starting.failures import died, explain, failure_of, hopeless, too_late
from nimctl.core.starting.phases import Phase, phase_of, phase_title

__all__ = [
    "Phase",
    "died",
    "explain",
    "failure_of",
    "hopeless",
    "phase_of",
    "phase_title",
    "too_late",
]
