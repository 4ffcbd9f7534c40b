"""What doctor looks at, and what it says about it."""

from enum import StrEnum, unique

from nimctl.core.machine import Host
from nimctl.core.serving.backends import BACKENDS
from nimctl.core.value import Value

EMBEDDED_BACKENDS = ("llama_cpp",)
GPU_BACKENDS = tuple(name for name in BACKENDS if name not in EMBEDDED_BACKENDS)


@unique
class State(StrEnum):
    """How a check went, best first."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Check(Value):
    """One line of the report.

    `fix` is the command or action that mends it; `stops` are the backends that cannot serve as
    long as it is so, which a machine without a GPU need not call a problem.
    """

    group: str
    state: State
    message: str
    fix: str | None = None
    stops: tuple[str, ...] = ()


class Failed(Value):
    """Why there is no container engine: an error in words."""

    message: str
    cause: str | None = None
    hint: str | None = None


class Login(Value):
    """Whether there is a key or token for a registry; never the key itself."""

    registry: str
    present: bool


class Circumstances(Value):
    """Everything that the checks look at. Proxies are without user and password."""

    host: Host
    home: str
    home_writable: bool
    engine_failure: Failed | None = None
    logins: tuple[Login, ...] = ()
    proxies: dict[str, str] = {}
    ca_file: str | None = None
    ca_file_exists: bool = True
