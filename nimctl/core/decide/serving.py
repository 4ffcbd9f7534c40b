"""What plans for servers share, however they run: names, addresses, keys, time limits."""

import re
from collections.abc import Mapping

import msgspec

from nimctl.core.decide.target import Surroundings, Target, weights
from nimctl.core.errors import HardwareError, UsageError
from nimctl.core.profile import Candidate, Fit
from nimctl.core.refs import ModelRef
from nimctl.core.requests import ServeRequest
from nimctl.core.servers import LOOPBACK, REQUEST_LABEL, Readiness, Server
from nimctl.core.value import Value

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# Families whose API answers with tokens; of the others HTTP 200 is all that can be asked for.
_TALKING = ("llm", "vlm", "safety")
USUAL_PORT = 8000
_READY_FLOOR_S = 60.0
_SLOWEST_LOAD_BYTES_PER_S = 50e6


class Keys(Value):
    """Who may ask: the file of the API keys, and whether it is to be made."""

    file: str | None = None
    generate: bool = False


NO_KEYS = Keys()


def server_name(request: ServeRequest, running: Mapping[str, str]) -> str:
    """What the server will be called; `running` has the URLs of those that run, by name.

    Raises:
        UsageError: The name is none, or taken.
    """
    name = request.name or request.ref.directory_name
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"`{name}` is no name for a server", cause="use letters, digits, . _ and -"
        )
    if name in running:
        raise UsageError(
            f"a server named {name} runs already at {running[name]}",
            hint=f"nimctl stop {name}, or choose another with --name",
        )
    return name


def api_keys(request: ServeRequest, around: Surroundings, name: str) -> Keys:
    """A server that others reach has a key unless told otherwise."""
    exposed = request.host not in LOOPBACK
    generate = exposed and request.auth and request.api_key_file is None
    made = str(around.layout.server(name) / "api-key")
    return Keys(file=made if generate else request.api_key_file, generate=generate)


def key_notes(keys: Keys) -> tuple[str, ...]:
    """What to say of the keys."""
    if not keys.generate:
        return ()
    return (f"reachable from other machines, so an API key is required: {keys.file}",)


def request_labels(request: ServeRequest) -> dict[str, str]:
    """The request as a label; of its variables only the names, as values may be secret."""
    named = msgspec.structs.replace(request, environment=dict.fromkeys(request.environment, ""))
    said = {
        field.name: value
        for field in msgspec.structs.fields(named)
        if (value := getattr(named, field.name)) != field.default
    }
    return {REQUEST_LABEL: msgspec.json.encode(said).decode()}


def describe_server(
    target: Target,
    around: Surroundings,
    *,
    name: str,
    url: str,
    keys: Keys,
    health_path: str,
    metrics_path: str | None,
) -> Server:
    """What will be known of the server."""
    profile = target.candidate.profile
    return Server(
        name=name,
        model=target.model,
        reference=str(target.ref),
        profile=profile.name,
        backend=profile.backend,
        url=url,
        reason="; ".join(one for one in (target.why, *target.candidate.reasons) if one),
        health_path=health_path,
        metrics_path=metrics_path,
        api_key_file=keys.file,
        home=around.layout.home,
    )


def url_of(request: ServeRequest, port: int) -> str:
    """Where this machine reaches the server that was asked for."""
    return url_at(request.host, port, tls=request.certificate is not None)


def url_at(address: str, port: int, *, tls: bool) -> str:
    """Where this machine reaches what listens on an address."""
    # An address that means all of them is none to connect to.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def readiness(request: ServeRequest, target: Target) -> Readiness:
    """What counts as ready."""
    if request.wait is not None:
        return request.wait
    return "token" if target.family in _TALKING else "ready"


def deadline_s(request: ServeRequest, target: Target, *, start_s: float = 0.0) -> float:
    """How long a server may take: what was asked for, or by the size of the model."""
    if request.timeout_s is not None:
        return request.timeout_s
    return _READY_FLOOR_S + start_s + (weights(target) or 0) / _SLOWEST_LOAD_BYTES_PER_S


def check_fit(
    candidate: Candidate, model: str, ref: ModelRef, idle_gpus: str | None = None
) -> None:
    """Refuse a profile that does not run here; `idle_gpus` says why GPUs that are there do not.

    Raises:
        HardwareError: It does not, with the reasons.
    """
    if candidate.fit in (Fit.INCOMPATIBLE, Fit.LOW_MEMORY):
        raise HardwareError(
            f"profile {candidate.profile.name} of {model} does not run on this machine",
            cause=idle_gpus or "; ".join(candidate.reasons),
            hint=f"nimctl list-profiles {ref}",
        )
