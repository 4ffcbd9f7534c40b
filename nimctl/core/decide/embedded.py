"""Plans that serve with the embedded engine."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from nimctl.core.backends import EmbeddedOptions, embedded_argv
from nimctl.core.decide.build import check_runtime, engine_steps
from nimctl.core.decide.fetch import check_room, prepare
from nimctl.core.decide.target import Surroundings, Target, directory, weights
from nimctl.core.errors import HardwareError, UsageError
from nimctl.core.layout import ENGINE_DIRECTORY, ENGINE_FILE, Layout
from nimctl.core.machine import Host
from nimctl.core.memory import decoding_threads, default_capacity
from nimctl.core.plan import Await, Launch, Plan
from nimctl.core.profile import Fit
from nimctl.core.requests import ServeRequest
from nimctl.core.servers import Server
from nimctl.core.unlisted import gguf_file

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_READY_FLOOR_S = 60.0
_SLOWEST_LOAD_BYTES_PER_S = 50e6


def plan_serve(request: ServeRequest, target: Target, around: Surroundings) -> Plan:
    """Everything from the first byte to the ready server.

    Raises:
        HardwareError: The machine cannot run it, or has no GPU and one is required.
        NotFoundError: The embedded engine or a library that it needs is not installed.
        UsageError: The name is taken.
        DiskFullError: The files or the engine do not fit.
    """
    _check_hardware(request, target, around.host)
    name = server_name(request, around.running)
    check_room(target, around)
    engine, note = engine_steps(target, around)
    url = f"http://{_bracketed(_reachable(request.host))}:{around.port}"
    launch = _launch(request, target, around, name=name, url=url)
    ready = Await(server=launch.server, timeout_s=_deadline(request, target))
    notes = (note, *_host_notes(around.host, launch))
    return Plan(steps=(*prepare(target, around), *engine, launch, ready), notes=notes)


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


def _launch(
    request: ServeRequest, target: Target, around: Surroundings, *, name: str, url: str
) -> Launch:
    profile = target.candidate.profile
    exposed = request.host not in ("127.0.0.1", "::1", "localhost")
    generate = exposed and request.auth and request.api_key_file is None
    key_file = str(around.layout.server(name) / "api-key") if generate else request.api_key_file
    available = around.host.memory_available_bytes
    capacity = default_capacity(target.architecture, available, request.capacity)
    options = EmbeddedOptions(
        engine=str(_engine_path(target, around.layout)),
        alias=target.model,
        host=request.host,
        port=around.port,
        capacity=capacity,
        threads=request.threads or decoding_threads(weights(target), around.host.cpu.cores),
        api_key_file=key_file,
        chat_template=request.chat_template,
        embeddings=request.embeddings,
        # What is built here is a decoder, which has no pooling of its own, and /v1/embeddings
        # answers only with one. A GGUF file says itself which it was trained with.
        pooling="mean" if request.embeddings and profile.build else None,
        lora=request.lora,
        extra=request.engine_arguments,
    )
    server = Server(
        name=name,
        model=target.model,
        reference=str(target.ref),
        profile=profile.name,
        backend=profile.backend,
        url=url,
        api_key_file=key_file,
    )
    return Launch(
        server=server,
        argv=embedded_argv(around.python, options),
        detach=request.detach,
        generate_api_key=generate,
    )


def _check_hardware(request: ServeRequest, target: Target, host: Host) -> None:
    if request.require_gpu:
        found = f"this host has {host.gpus[0].name}" if host.gpus else "this host has no NVIDIA GPU"
        raise HardwareError(
            f"no profile of {target.model} runs on a GPU here",
            cause=f"{found}; the backend llama_cpp serves on the CPU",
            hint=f"nimctl list-profiles {target.ref}",
        )
    check_runtime(host)
    candidate = target.candidate
    if candidate.fit in (Fit.INCOMPATIBLE, Fit.LOW_MEMORY):
        raise HardwareError(
            f"profile {candidate.profile.name} of {target.model} does not run on this machine",
            cause="; ".join(candidate.reasons),
            hint=f"nimctl list-profiles {target.ref}",
        )


def _engine_path(target: Target, layout: Layout) -> Path:
    base = directory(target, layout)
    if target.candidate.profile.build:
        return base / ENGINE_DIRECTORY / ENGINE_FILE
    return base / (gguf_file(target.artifact) or ENGINE_FILE)


def _deadline(request: ServeRequest, target: Target) -> float:
    if request.timeout_s is not None:
        return request.timeout_s
    return _READY_FLOOR_S + (weights(target) or 0) / _SLOWEST_LOAD_BYTES_PER_S


def _host_notes(host: Host, launch: Launch) -> Iterator[str]:
    if host.gpus:
        yield f"WARNING: serving on the CPU; {host.gpus[0].name} is not used by llama_cpp"
    else:
        yield f"serving on the CPU ({host.cpu.model}): no NVIDIA GPU found"
    if launch.generate_api_key:
        key_file = launch.server.api_key_file
        yield f"reachable from other machines, so an API key is required: {key_file}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - it maps, not binds
