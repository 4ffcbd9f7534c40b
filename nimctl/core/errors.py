"""Every failure that a user can meet.

NimctlError
+-- UsageError                2   the request itself is wrong
|   +-- OtherReferenceError   2   a model is named as another tool would
+-- NotFoundError             3   model, version, profile, server or file
+-- AuthError                 4   key missing or wrong, no entitlement, licence not accepted
+-- NetworkError              5   unreachable, cut off, or an answer that makes no sense
|   +-- OfflineError          5   needs the network, which --offline forbids
+-- VerificationError         6   bytes differ from what was promised
+-- HardwareError             7   this machine cannot run it
|   +-- UnsupportedModelError 7   no engine of this backend can run the model
+-- ContainerEngineError      8   Docker or Podman
|   +-- NoContainerEngineError 8  there is none
|   +-- LimitRefusedError     8   it may not lift a limit that a container asks for
+-- DeadlineError             9   it took longer than allowed
+-- ServerDiedError          10   the server ended before it was ready
+-- BuildError               11   the engine build failed
+-- DiskFullError            12   not enough room
KeyboardInterrupt           130   Ctrl-C   } no NimctlError: nothing
Terminated                  143   SIGTERM  } may catch them on the way

Anything else that reaches the entry point is a bug and exits with 1.
Imports only the standard library: every command loads this module, also for `--help`.
"""

import errno
from enum import IntEnum, unique


@unique
class Exit(IntEnum):
    """Process exit codes; they are part of the interface."""

    OK = 0
    BUG = 1
    USAGE = 2
    NOT_FOUND = 3
    AUTH = 4
    NETWORK = 5
    VERIFICATION = 6
    HARDWARE = 7
    CONTAINER_ENGINE = 8
    DEADLINE = 9
    SERVER_DIED = 10
    BUILD = 11
    DISK_FULL = 12
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS: dict[Exit, str] = {
    Exit.OK: "done",
    Exit.BUG: "a bug in nimctl; `--debug` shows the traceback",
    Exit.USAGE: "the request is wrong: an unknown flag, a bad value, a port in use",
    Exit.NOT_FOUND: "no such model, version, profile, server or file",
    Exit.AUTH: "key missing or refused, no entitlement, or licence not accepted",
    Exit.NETWORK: "the network or a registry failed, or `--offline` forbids what is needed",
    Exit.VERIFICATION: "bytes differ from what the registry promised",
    Exit.HARDWARE: "this machine cannot run the model",
    Exit.CONTAINER_ENGINE: "the container engine failed",
    Exit.DEADLINE: "it took longer than `--timeout`",
    Exit.SERVER_DIED: "the server ended before it was ready",
    Exit.BUILD: "the engine build failed",
    Exit.DISK_FULL: "not enough disk space",
    Exit.INTERRUPTED: "interrupted by Ctrl-C",
    Exit.TERMINATED: "terminated by SIGTERM",
}


class NimctlError(Exception):
    """What failed, why, and the command to try next.

    Args:
        message: What was attempted and what happened, one sentence without a final period.
        cause: Why, when that is known and not said yet.
        hint: The next step, if possible as a command.
    """

    exit_code: Exit = Exit.BUG

    def __init__(self, message: str, *, cause: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.hint = hint


class UsageError(NimctlError):
    """The request itself is wrong."""

    exit_code = Exit.USAGE


class OtherReferenceError(UsageError):
    """A model is named as another tool would; `meant` is the reference that nimctl takes."""

    def __init__(self, message: str, meant: str) -> None:
        super().__init__(message, hint=meant)
        self.meant = meant


class NotFoundError(NimctlError):
    """Something that was named does not exist."""

    exit_code = Exit.NOT_FOUND


class AuthError(NimctlError):
    """A registry refuses these credentials, or needs some."""

    exit_code = Exit.AUTH


class NetworkError(NimctlError):
    """A registry or server cannot be reached or answers nonsense."""

    exit_code = Exit.NETWORK


class OfflineError(NetworkError):
    """The network is needed, and `--offline` forbids it."""


class VerificationError(NimctlError):
    """Bytes differ from what was promised, or a file is malformed."""

    exit_code = Exit.VERIFICATION


class OtherContentError(VerificationError):
    """A file came whole, and is another than the one that was expected."""


class HardwareError(NimctlError):
    """This machine cannot do it."""

    exit_code = Exit.HARDWARE


class UnsupportedModelError(HardwareError):
    """No engine of the backend can run this model."""


class ContainerEngineError(NimctlError):
    """Docker or Podman refused or failed."""

    exit_code = Exit.CONTAINER_ENGINE


class NoContainerEngineError(ContainerEngineError):
    """There is no container engine, and none was asked for by name."""


class LimitRefusedError(ContainerEngineError):
    """The container engine may not lift a limit that a container asks for."""


class DeadlineError(NimctlError):
    """It took longer than allowed."""

    exit_code = Exit.DEADLINE


class ServerDiedError(NimctlError):
    """The server ended before it was ready."""

    exit_code = Exit.SERVER_DIED


class BuildError(NimctlError):
    """The engine build failed."""

    exit_code = Exit.BUILD


class DiskFullError(NimctlError):
    """Not enough disk space."""

    exit_code = Exit.DISK_FULL


def from_os_error(error: OSError) -> NimctlError | None:
    """Words for a failure of the operating system that is no bug; None for any other."""
    where = f" ({error.filename})" if error.filename else ""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return DiskFullError(
                f"the disk is full{where}",
                hint="free some space and run the command again; it goes on where it stopped",
            )
        case errno.EROFS:
            return UsageError(
                f"nothing can be written{where}",
                cause="the file system is read-only",
                hint="set NIMCTL_HOME to a directory on another",
            )
        case errno.ENOTDIR:
            return UsageError(
                f"a file lies where a directory belongs{where}",
                hint="check that NIMCTL_HOME and what you named are directories",
            )
        case errno.EACCES | errno.EPERM:
            return UsageError(
                f"permission denied{where}",
                cause=error.strerror,
                hint="check the owner of that path, or set NIMCTL_HOME to a directory of yours",
            )
    return None


class Terminated(BaseException):
    """The process was asked to end by SIGTERM."""

    exit_code = Exit.TERMINATED
