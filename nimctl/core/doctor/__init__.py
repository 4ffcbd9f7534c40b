"""What is wrong with a machine, and the command that fixes it: pure, from what was observed."""

from nimctl.core.doctor.check import Check, Circumstances, Failed, Login, State
from nimctl.core.doctor.report import BackendState, DoctorReport, examine

__all__ = [
    "BackendState",
    "Check",
    "Circumstances",
    "DoctorReport",
    "Failed",
    "Login",
    "State",
    "examine",
]
