"""Decisions: from a request and the facts to a plan, or to the reason why not.

Every refusal happens here, before the first byte. Pure: equal input gives equal plans.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from nimctl.core.architecture import Architecture
from nimctl.core.archives import archives_in, packed
from nimctl.core.backends import EmbeddedOptions, embedded_argv
from nimctl.core.engine import EngineRecipe
from nimctl.core.errors import DiskFullError, HardwareError, NotFoundError, UsageError
from nimctl.core.facts import Artifact, File, Inventory
from nimctl.core.layout import ENGINE_DIRECTORY, ENGINE_FILE, Layout
from nimctl.core.machine import Host
from nimctl.core.memory import BYTES_PER_WEIGHT, decoding_threads, default_capacity
from nimctl.core.plan import (
    Assemble,
    Attach,
    Await,
    Build,
    Extract,
    Fetch,
    Launch,
    Plan,
    Step,
)
from nimctl.core.profile import Candidate, Fit, Profile
from nimctl.core.refs import ModelRef
from nimctl.core.requests import ServeRequest
from nimctl.core.unlisted import gguf_file
from nimctl.core.value import Value

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_READY_FLOOR_S = 60.0
_SLOWEST_LOAD_BYTES_PER_S = 50e6
_DISK_RESERVE_BYTES = 64 * 2**20


class Target(Value):
    """A model, the profile chosen for it and the files that this needs."""

    ref: ModelRef
    model: str
    architecture: Architecture | None
    candidate: Candidate
    artifact: Artifact


class Surroundings(Value):
    """What else a plan depends on: the machine, the store, and the port that can be had."""

    host: Host
    layout: Layout
    inventory: Inventory
    builder: str
    python: str
    port: int = 0
    running: dict[str, str] = {}


def recipe_for(profile: Profile, builder: str) -> EngineRecipe:
    """What a profile's engine is built by."""
    return EngineRecipe(
        backend=profile.backend,
        precision=profile.precision,
        builder=builder,
        tp=profile.tp,
        pp=profile.pp,
    )


def plan_pull(source: ModelRef, artifact: Artifact, around: Surroundings) -> Plan:
    """Fetch what is missing; whether this machine can serve it is not asked.

    Raises:
        DiskFullError: The files do not fit.
    """
    steps = tuple(fetch_steps(str(source), artifact, around.inventory))
    size = _size(file for step in steps if isinstance(step, Fetch) for file in step.missing)
    _check_disk(f"the download of {source}", size, around)
    free = around.host.disk_free_bytes
    note = f"{size:,} bytes to fetch, {free:,} free under {around.layout.home}"
    return Plan(steps=steps, notes=(note,))


def fetch_steps(reference: str, artifact: Artifact, inventory: Inventory) -> Iterator[Step]:
    """Fetch an artifact, and unpack its archives."""
    if artifact.archives and _missing(artifact, inventory):
        # What was unpacked cannot be had file by file.
        artifact = packed(artifact)
    missing = _missing(artifact, inventory)
    yield Fetch(reference=reference, artifact=artifact, missing=missing)
    if archives_in(artifact):
        yield Extract(reference=reference)


def plan_build(target: Target, around: Surroundings) -> Plan:
    """Fetch, lay out, build.

    Raises:
        UsageError: The profile is served as it comes; there is nothing to build.
    """
    if not target.candidate.profile.build:
        raise UsageError(
            f"profile {target.candidate.profile.name} needs no build",
            cause="its files are an engine already",
            hint=f"nimctl serve {target.ref}",
        )
    _check_runtime(around.host)
    _check_room(target, around)
    return Plan(steps=(*_prepare(target, around), _build(target, around)))


def plan_serve(request: ServeRequest, target: Target, around: Surroundings) -> Plan:
    """Everything from the first byte to the ready server.

    Raises:
        HardwareError: The machine cannot run it, or has no GPU and one is required.
        NotFoundError: The embedded engine or a library that it needs is not installed.
        UsageError: The name is taken.
        DiskFullError: The files or the engine do not fit.
    """
    _check_hardware(request, target, around.host)
    name = request.name or target.ref.directory_name
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"`{name}` is no name for a server", cause="use letters, digits, . _ and -"
        )
    if name in around.running:
        raise UsageError(
            f"a server named {name} runs already at {around.running[name]}",
            hint=f"nimctl stop {name}, or choose another with --name",
        )
    _check_room(target, around)
    engine, note = _engine(target, around)
    url = f"http://{_bracketed(_reachable(request.host))}:{around.port}"
    launch = _launch(request, target, around, name=name, url=url)
    ready = Await(name=name, url=url, path="/health", timeout_s=_deadline(request, target))
    notes = (note, *_host_notes(around.host, launch))
    return Plan(steps=(*_prepare(target, around), *engine, launch, ready), notes=notes)


def _prepare(target: Target, around: Surroundings) -> Iterator[Step]:
    source = target.artifact.reference
    missing = _missing(target.artifact, around.inventory)
    # Where all is there, the fetch moves nothing and pins what the later steps go by.
    if missing or not around.inventory.pinned:
        yield from fetch_steps(source, target.artifact, around.inventory)
    yield Assemble(reference=source, directory=str(_directory(target, around.layout)))


def _build(target: Target, around: Surroundings) -> Build:
    recipe = recipe_for(target.candidate.profile, around.builder)
    digest = target.artifact.digest
    return Build(
        reference=target.artifact.reference,
        directory=str(_directory(target, around.layout)),
        recipe=recipe,
        key=recipe.key(digest) if digest else None,
    )


def _engine(target: Target, around: Surroundings) -> tuple[tuple[Step, ...], str]:
    profile = target.candidate.profile
    if not profile.build:
        return (), f"profile {profile.name}: its files are served as they are"
    build = _build(target, around)
    attach = Attach(reference=build.reference, directory=build.directory, recipe=build.recipe)
    if build.key in around.inventory.engines:
        return (attach,), f"profile {profile.name}: its engine is in the store"
    return (build, attach), f"profile {profile.name}: its engine is built on this machine"


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
        threads=request.threads or decoding_threads(_weights(target), around.host.cpu.cores),
        api_key_file=key_file,
        chat_template=request.chat_template,
        embeddings=request.embeddings,
        # What is built here is a decoder, which has no pooling of its own, and /v1/embeddings
        # answers only with one. A GGUF file says itself which it was trained with.
        pooling="mean" if request.embeddings and profile.build else None,
        lora=request.lora,
        extra=request.engine_arguments,
    )
    return Launch(
        name=name,
        model=target.model,
        reference=str(target.ref),
        profile=profile.name,
        backend=profile.backend,
        argv=embedded_argv(around.python, options),
        url=url,
        detach=request.detach,
        api_key_file=key_file,
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
    _check_runtime(host)
    candidate = target.candidate
    if candidate.fit in (Fit.INCOMPATIBLE, Fit.LOW_MEMORY):
        raise HardwareError(
            f"profile {candidate.profile.name} of {target.model} does not run on this machine",
            cause="; ".join(candidate.reasons),
            hint=f"nimctl list-profiles {target.ref}",
        )


def _check_room(target: Target, around: Surroundings) -> None:
    need = _size(_missing(target.artifact, around.inventory))
    what = f"the download of {target.model}"
    candidate = target.candidate
    if candidate.profile.build and not candidate.cached:
        need += _weights(target) or 0
        what += " and its engine"
    _check_disk(what, need, around)


def _check_disk(what: str, need: int, around: Surroundings) -> None:
    free = around.host.disk_free_bytes
    if need and need + _DISK_RESERVE_BYTES > free:
        raise DiskFullError(
            f"{what}: {need / 2**20:,.0f} MiB are needed, "
            f"{free / 2**20:,.0f} MiB are free under {around.layout.home}",
            hint="free some space, or set NIMCTL_HOME to a larger disk",
        )


def _check_runtime(host: Host) -> None:
    if host.embedded.version is None:
        raise NotFoundError(
            "the embedded engine xllamacpp is not installed",
            cause="nimctl was installed without the extra `cpu`",
            hint="pip install 'nimctl[cpu]'",
        )
    if not host.embedded.libgomp:
        raise NotFoundError(
            "the embedded engine cannot be loaded: libgomp.so.1 is missing",
            cause="xllamacpp's wheel does not carry the OpenMP runtime",
            hint="apt-get install libgomp1 (or dnf install libgomp)",
        )


def _missing(artifact: Artifact, inventory: Inventory) -> tuple[File, ...]:
    return tuple(file for file in artifact.files if file.sha256 not in inventory.blobs)


def _size(files: Iterable[File]) -> int:
    return sum(file.size or 0 for file in files)


def _directory(target: Target, layout: Layout) -> Path:
    return layout.model(target.ref.directory_name, target.candidate.profile.name)


def _engine_path(target: Target, layout: Layout) -> Path:
    directory = _directory(target, layout)
    if target.candidate.profile.build:
        return directory / ENGINE_DIRECTORY / ENGINE_FILE
    return directory / (gguf_file(target.artifact) or ENGINE_FILE)


def _weights(target: Target) -> int | None:
    per_weight = BYTES_PER_WEIGHT.get(target.candidate.profile.precision)
    if target.architecture and per_weight:
        return round(target.architecture.parameters * per_weight)
    return target.artifact.size


def _deadline(request: ServeRequest, target: Target) -> float:
    if request.timeout_s is not None:
        return request.timeout_s
    return _READY_FLOOR_S + (_weights(target) or 0) / _SLOWEST_LOAD_BYTES_PER_S


def _host_notes(host: Host, launch: Launch) -> Iterator[str]:
    if host.gpus:
        yield f"WARNING: serving on the CPU; {host.gpus[0].name} is not used by llama_cpp"
    else:
        yield f"serving on the CPU ({host.cpu.model}): no NVIDIA GPU found"
    if launch.generate_api_key:
        yield f"reachable from other machines, so an API key is required: {launch.api_key_file}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - it maps, not binds
