"""Why a server will not become ready: its container's state and the last lines that it wrote."""

from collections.abc import Sequence

from nimctl.core.containers import ContainerState
from nimctl.core.diagnosis import Diagnosis, Known, decisive_lines, search
from nimctl.core.errors import DeadlineError, HardwareError, NimctlError, ServerDiedError
from nimctl.core.servers import Server
from nimctl.core.trtllm.diagnosis import REFUSED_ENGINES

_FOREIGN = "exec format error"
# What shells and runtimes say of a program that cannot be run, and that is not there.
_NO_PROGRAM = (126, 127)
_SIGNALLED = 128
_KILLED = 137

# After these a server says no more, and often lives on: its HTTP front end outlives its engine.
# vllm/v1/engine/core.py; sglang/srt/managers/scheduler.py.
_LOST = (
    Known(
        pattern=r"To serve at least one request .*max seq len \((?P<asked>\d+)\)"
        r".*estimated maximum model length is (?P<fits>\d+)",
        cause="the GPU's memory does not hold one sequence of {asked} tokens; {fits} would fit",
        hint="--max-model-len {fits}",
    ),
    Known(
        pattern=r"To serve at least one request .*max seq len \((?P<asked>\d+)\)"
        r"|No available memory for the cache blocks|Not enough memory\. Please try to increase "
        r"--mem-fraction-static",
        cause="the GPU's memory does not hold the weights and the cache of one sequence",
        hint="a smaller --max-model-len, a smaller precision, or more GPUs",
    ),
    Known(
        pattern=r"Free memory on device.*less than desired GPU memory utilization",
        cause="another process uses the GPU's memory",
        hint="nvidia-smi shows which; nimctl ps shows nimctl's own",
    ),
    Known(
        pattern=r"CUDA out of memory|torch\.(cuda\.)?OutOfMemoryError|cudaErrorMemoryAllocation",
        cause="the GPU's memory ran out",
        hint="a smaller --max-model-len, a smaller precision, or more GPUs; "
        "nvidia-smi shows who uses it",
    ),
    Known(
        pattern=r"driver version is insufficient for CUDA|UNSUPPORTED_DRIVER",
        cause="the NVIDIA driver is too old for the CUDA in the image",
        hint="update the driver, or name an older --image; nimctl doctor shows both versions",
    ),
    Known(
        # https://docs.nvidia.com/nim/large-language-models/latest/utilities.html, logs.
        pattern=r"Could not find a profile that is currently runnable"
        r"|Could not match a profile in manifest|no matching profile_id",
        cause="the NIM finds no profile that this GPU runs",
        hint="nimctl list-profiles {model} says why; --profile pins one",
    ),
    Known(
        pattern=r"PermissionError: .*'(?P<path>/opt/nim/\.cache[^']*)'",
        cause="the NIM may not write to its cache {path}",
        hint="nimctl doctor",
    ),
    Known(
        pattern=r"Scheduler hit an exception|EngineCore failed to start"
        r"|Engine core initialization failed",
        cause="the engine inside the server failed",
        hint=None,
    ),
)
_UNUSABLE = (
    Known(
        pattern=r"unrecognized arguments?: (?P<flags>.+)",
        cause="the server in the image does not know {flags}",
        hint="take it out, or name an image of the release that knows it",
    ),
    Known(
        pattern=r"GatedRepoError|401 Client Error|NGC_API_KEY.*(not set|missing|invalid)",
        cause="the container wanted to download, and was refused",
        hint="nimctl login",
    ),
    Known(
        pattern=r"[Aa]ddress already in use",
        cause="a port inside is taken, as it is with the host's network",
        hint="choose another with --port",
    ),
)


def explain(server: Server, lines: Sequence[str]) -> Diagnosis | None:
    """What the log says of a failure; None when it says nothing that is known."""
    return search((*REFUSED_ENGINES, *_LOST, *_UNUSABLE), lines, server.model)


def hopeless(server: Server, lines: Sequence[str]) -> Diagnosis | None:
    """The failure that a server has logged which it does not recover from, dead or not."""
    return search((*REFUSED_ENGINES, *_LOST), lines, server.model)


def failure_of(
    server: Server, state: ContainerState | None, lines: Sequence[str]
) -> NimctlError | None:
    """Why a server cannot become ready any more; None while it still can.

    `state` is None when the container is gone, `lines` are the last of its log.
    """
    name = server.name
    if state is None:
        return ServerDiedError(
            f"the container of {name} was removed before it was ready",
            hint="the same command again",
        )
    how = _how(state)
    if how is None:
        return None
    foreign = next((line for line in lines if _FOREIGN in line.lower()), None)
    if foreign and state.exit_code:
        return HardwareError(
            f"{name} cannot run here: its image is for another architecture",
            cause=foreign.strip(),
            hint="name another image with --image",
        )
    if state.oom_killed:
        return ServerDiedError(
            f"{name} {how}: it used more memory than it may",
            cause=last_words(lines),
            hint=f"a machine with more memory, or a smaller model; nimctl logs {name}",
        )
    return died(server, how, lines)


def died(server: Server, how: str, lines: Sequence[str]) -> NimctlError:
    """The error for a server that failed, with what its log says."""
    found = explain(server, lines)
    logs = f"nimctl logs {server.name}"
    if found is None or found.cause is None:
        return ServerDiedError(f"{server.name} {how}", cause=last_words(lines), hint=logs)
    cause = "\n".join((found.cause, *(f"  {line}" for line in found.lines)))
    hint = f"{found.hint}; {logs}" if found.hint else logs
    return ServerDiedError(f"{server.name} {how}", cause=cause, hint=hint)


def too_late(server: Server, seconds: float, lines: Sequence[str]) -> NimctlError:
    """The error for a server that is not ready in time."""
    return DeadlineError(
        f"{server.name} was not ready within {round(seconds, 1):g} seconds",
        cause=last_words(lines),
        hint=f"nimctl logs {server.name}, or allow more with --timeout",
    )


def last_words(lines: Sequence[str]) -> str | None:
    """The lines that tell most, on lines of their own where there are several."""
    told = decisive_lines(lines)
    return "\n  ".join(line.strip() for line in told) or None


def _how(state: ContainerState) -> str | None:
    if state.restarts or state.status == "restarting":
        return f"ended and was started again before it was ready ({_status(state.exit_code)})"
    if state.status in ("exited", "dead", "removing"):
        return f"ended before it was ready ({_status(state.exit_code)})"
    if state.oom_killed:
        return "lost a process before it was ready"
    if state.health == "unhealthy":
        return "is unhealthy by its image's own check"
    return None


def _status(code: int) -> str:
    if code in _NO_PROGRAM:
        return f"exit status {code}: its program cannot be run or is not in the image"
    if code == _KILLED:
        return f"exit status {code}: killed for want of memory, or by somebody"
    if code > _SIGNALLED:
        return f"exit status {code}, which is signal {code - _SIGNALLED}"
    return f"exit status {code}"
