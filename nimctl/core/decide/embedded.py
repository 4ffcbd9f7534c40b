"""Plans that serve with the embedded engine."""

from pathlib import Path

import msgspec

from nimctl.core.backends import EmbeddedOptions, embedded_argv
from nimctl.core.decide import on_cpu
from nimctl.core.decide.adapters import checked_adapters
from nimctl.core.decide.build import check_runtime, engine_steps
from nimctl.core.decide.fetch import check_room, prepare
from nimctl.core.decide.serving import (
    Keys,
    api_keys,
    check_fit,
    deadline_s,
    describe_server,
    key_notes,
    server_name,
    url_of,
)
from nimctl.core.decide.target import Surroundings, Target, directory, weights
from nimctl.core.layout import ENGINE_DIRECTORY, ENGINE_FILE, Layout
from nimctl.core.memory import decoding_threads, default_capacity
from nimctl.core.plan import Await, Launch, Plan
from nimctl.core.requests import ServeRequest
from nimctl.core.servers import planned
from nimctl.core.unlisted import gguf_file


def plan_embedded(request: ServeRequest, target: Target, around: Surroundings) -> Plan:
    """Everything from the first byte to the ready server.

    Raises:
        HardwareError: The machine cannot run it, or has no GPU and one is required.
        NotFoundError: The embedded engine or a library that it needs is not installed.
        UsageError: The name is taken, or an adapter is not llama.cpp's.
        DiskFullError: The files or the engine do not fit.
    """
    _check_hardware(request, target, around)
    name = server_name(request, around.running)
    check_room(target, around)
    engine, note = engine_steps(target, around)
    launch = _launch(request, target, around, name)
    keys = Keys(file=launch.server.api_key_file, generate=launch.generate_api_key)
    notes = (note, *on_cpu.notes(target, around), *key_notes(keys))
    launch = msgspec.structs.replace(launch, server=planned(launch.server, notes))
    ready = Await(server=launch.server, timeout_s=deadline_s(request, target))
    return Plan(steps=(*prepare(target, around), *engine, launch, ready), notes=notes)


def _launch(request: ServeRequest, target: Target, around: Surroundings, name: str) -> Launch:
    profile = target.candidate.profile
    keys = api_keys(request, around, name)
    available = around.host.memory_available_bytes
    capacity = default_capacity(target.architecture, available, request.capacity)
    options = EmbeddedOptions(
        engine=str(_engine_path(target, around.layout)),
        alias=target.model,
        host=request.host,
        port=around.port,
        capacity=capacity,
        threads=request.threads or decoding_threads(weights(target), around.host.cpu.cores),
        api_key_file=keys.file,
        chat_template=request.chat_template,
        embeddings=request.embeddings,
        # What is built here is a decoder, which has no pooling of its own, and /v1/embeddings
        # answers only with one. A GGUF file says itself which it was trained with.
        pooling="mean" if request.embeddings and profile.build else None,
        lora=tuple(one.directory for one in checked_adapters(target, around, engine=None).checked),
        extra=request.engine_arguments,
    )
    server = describe_server(
        target,
        around,
        name=name,
        url=url_of(request, around.port),
        keys=keys,
        health_path="/health",
        metrics_path="/metrics",
    )
    return Launch(
        server=server,
        argv=embedded_argv(around.python, options),
        detach=request.detach,
        generate_api_key=keys.generate,
    )


def _check_hardware(request: ServeRequest, target: Target, around: Surroundings) -> None:
    on_cpu.check_required(request, target, around)
    check_runtime(around.host)
    check_fit(target.candidate, target.model, target.ref)


def _engine_path(target: Target, layout: Layout) -> Path:
    base = directory(target, layout)
    if target.candidate.profile.build:
        return base / ENGINE_DIRECTORY / ENGINE_FILE
    return base / (gguf_file(target.artifact) or ENGINE_FILE)
