"""Observe, then decide: from a request to a plan. Reads the outside, changes nothing."""

from pathlib import Path

import msgspec

from nimctl import builders, calibration, checkpoints, prebuilts, surroundings
from nimctl.core import decide
from nimctl.core.archives import archives_in, settled
from nimctl.core.catalogue import Model
from nimctl.core.decide import Surroundings, Target
from nimctl.core.errors import UsageError
from nimctl.core.facts import Artifact, carry_digests
from nimctl.core.fit import Judge
from nimctl.core.machine import Host
from nimctl.core.memory import ANY_CAPACITY, CapacityWish
from nimctl.core.plan import Plan
from nimctl.core.profile import Candidate, Profile, Wish
from nimctl.core.refs import ModelRef
from nimctl.core.requests import (
    IN_CONTAINERS,
    BuildRequest,
    PullRequest,
    ServeRequest,
    UpdateRequest,
)
from nimctl.core.trtllm.prebuilt import is_prebuilt
from nimctl.core.trtllm.subject import NO_OPTIONS, BuildOptions
from nimctl.registry_tools import LOCAL_SCHEMES
from nimctl.replicas import replicas_of
from nimctl.serving import guards
from nimctl.serving.adapters import observe_adapter
from nimctl.serving.health import free_port, free_ports
from nimctl.survey import survey
from nimctl.tools import Tools


def plan_pull(request: PullRequest, tools: Tools) -> Plan:
    """Plan a download; a moving reference such as a branch is looked up again."""
    host = tools.host()
    source = request.ref
    if source.scheme == "catalogue":
        model = tools.catalog.find(source.path)
        found = survey(model, host, tools, everywhere=request.wish.narrows)
        source = _source(found.matching(request.wish)[0].profile)
    if request.lock is not None:
        artifact = request.lock.find(source)
    else:
        artifact = _artifact(source, tools, refresh=True)
    return decide.plan_pull(source, artifact, surroundings.of_artifact(artifact, host, tools))


def plan_opening(ref: ModelRef, tools: Tools) -> Plan | None:
    """What has to be unpacked before anything can be said of a model; None if there is nothing."""
    return _opening(ref, _named(ref, tools), tools)


def plan_build(request: BuildRequest, tools: Tools) -> Plan:
    """Plan an engine build, or what it has to begin with."""
    artifact = _named(request.ref, tools)
    opening = _opening(request.ref, artifact, tools)
    if opening:
        return opening
    host, options = tools.host(), request.options
    target = _divided(_building_target(request, artifact, host, tools), options, host)
    (port,) = free_ports(1)  # for a server that is started once
    around = surroundings.of_target(target, host, tools, port=port)
    is_trtllm = target.candidate.profile.backend == "tensorrt_llm"
    if request.calibration and is_trtllm:
        texts = calibration.read(Path(request.calibration))
        options = msgspec.structs.replace(options, calibration=texts)
    if target.prebuilt is not None:
        around = msgspec.structs.replace(around, building=builders.engines_here(tools))
    elif is_trtllm:
        around = _with_builder(around, options, tools)
    return decide.plan_build(target, around, options)


def _building_target(
    request: BuildRequest, artifact: Artifact | None, host: Host, tools: Tools
) -> Target:
    wish = request.wish
    if request.options.strategy in ("tensorrt", "pytorch") and wish.backend is None:
        wish = msgspec.structs.replace(wish, backend="tensorrt_llm")
    model = _model(request.ref, artifact, tools)
    found = survey(model, host, tools, everywhere=wish.narrows)
    candidates = found.matching(wish)
    chosen = decide.for_engine(
        candidates, request.options, has_calibration=request.calibration is not None
    )
    best = found.unbound(chosen or candidates[0], wish)
    return _target_of(request.ref, artifact, model, best, tools)


def _divided(target: Target, options: BuildOptions, host: Host) -> Target:
    if options.tp is None and options.pp is None:
        return target
    judge = Judge(host, architecture=target.architecture)
    candidate = judge.judge(decide.divided(target, options))
    return msgspec.structs.replace(target, candidate=candidate)


def _with_builder(around: Surroundings, options: BuildOptions, tools: Tools) -> Surroundings:
    host = around.host
    if host.container_engine is None and not host.planned:
        host = tools.with_container_engine(host)
    building = builders.observe(options, host, tools)
    return msgspec.structs.replace(around, host=host, building=building)


def plan_serve(request: ServeRequest, tools: Tools) -> Plan:
    """Plan a server, with everything that it still needs, or what it has to begin with."""
    port = _port(request.host, decide.USUAL_PORT if request.port is None else request.port)
    if request.api_key_file:
        guards.check_keys(Path(request.api_key_file))
    if request.certificate:
        guards.check_certificate(Path(request.certificate))
    decide.server_name(request, tools.embedded_servers.running())
    artifact = _named(request.ref, tools)
    opening = _opening(request.ref, artifact, tools)
    if opening:
        return opening
    host, idle_gpus = _serving_host(request, tools)
    target = _target(
        request.ref,
        artifact,
        host,
        tools,
        wish=request.outer_choice,
        capacity=request.capacity,
        idle_gpus=idle_gpus,
    )
    if request.port is None and (own := decide.own_port(target)):
        port = _port(request.host, own)
    around = msgspec.structs.replace(
        surroundings.of_target(target, host, tools, port=port),
        idle_gpus=idle_gpus,
        adapters=tuple(observe_adapter(Path(one)) for one in request.lora),
    )
    if not decide.runs_in_container(request, target):
        return decide.plan_embedded(request, target, around)
    around = surroundings.in_container(request, target, around, tools)
    opening = decide.plan_image(request, target, around)
    if opening:
        return opening
    around = _with_engines(request, target, around, tools)
    target = _pinned(request, target, around, host, tools)
    return decide.plan_container(request, target, around)


def _with_engines(
    request: ServeRequest, target: Target, around: Surroundings, tools: Tools
) -> Surroundings:
    """What a server of TensorRT-LLM may be served with, or has to be built by first."""
    profile = target.candidate.profile
    if profile.backend != "tensorrt_llm":
        return around
    if not profile.build:
        return msgspec.structs.replace(around, building=builders.engines_here(tools))
    image = request.image or decide.image_of(target)
    return _with_builder(around, BuildOptions(image=image, builder="container"), tools)


def _pinned(
    request: ServeRequest, target: Target, around: Surroundings, host: Host, tools: Tools
) -> Target:
    """A NIM with the profile of its own manifest that suits these GPUs best."""
    known = around.image is not None or request.manifest is not None
    if target.candidate.profile.backend != "nim" or not known:
        return target
    # What reads manifests is a tenth of what is imported until a server starts.
    from nimctl.nim_serving import pinned_nim  # noqa: PLC0415 - for NIMs alone

    nim = pinned_nim(request, request.image or decide.image_of(target), host, tools)
    if nim is None:
        return target
    return msgspec.structs.replace(
        target, candidate=nim.choice.candidate, why=nim.choice.why, bring=nim.files.steps
    )


def plan_update(update: UpdateRequest, tools: Tools) -> Plan:
    """Plan the replacement of a router's replicas, with what the new ones still need.

    Raises:
        NotFoundError: There is no server of this name.
        UsageError: It is no router, or does not run.
    """
    replicas = replicas_of(update.name, tools)
    request = decide.updated_request(update, replicas[0])
    artifact = _named(request.ref, tools)
    opening = _opening(request.ref, artifact, tools)
    if opening:
        return opening
    host = tools.with_container_engine(tools.host())
    place = decide.place_of(replicas[0], host)
    target = _target(
        request.ref, artifact, place, tools, wish=request.outer_choice, capacity=request.capacity
    )
    around = msgspec.structs.replace(
        surroundings.of_target(target, host, tools),
        adapters=tuple(observe_adapter(Path(one)) for one in request.lora),
    )
    around = surroundings.in_container(request, target, around, tools)
    opening = decide.plan_image(request, target, around)
    if opening:
        return opening
    around = _with_engines(request, target, around, tools)
    kept = decide.keeping_profile(update, request, replicas[0])
    target = _pinned(kept, target, around, place, tools)
    return decide.plan_update(update, request, target, around, replicas)


def _serving_host(request: ServeRequest, tools: Tools) -> tuple[Host, str | None]:
    """This machine with the GPUs that are free, and why others cannot be used.

    The container engine is asked only where it may be needed.
    """
    host = tools.host()
    if not host.planned and (host.gpus or request.wants_container):
        host = tools.with_container_engine(host)
    asked = host.container_engine and host.gpus and not host.planned
    taken = tools.container_servers.gpus_taken() if asked else {}
    return decide.reachable(request, host, taken)


def model_of(ref: ModelRef, tools: Tools) -> Model:
    """The catalogue's model, or what can be said of a reference that is not in it."""
    return _model(ref, _named(ref, tools), tools)


def _named(ref: ModelRef, tools: Tools) -> Artifact | None:
    """The artifact that a reference names itself; None where the catalogue has to say which."""
    return None if ref.scheme == "catalogue" else _artifact(ref, tools, refresh=False)


def _opening(ref: ModelRef, artifact: Artifact | None, tools: Tools) -> Plan | None:
    if artifact is None or not archives_in(artifact):
        return None
    return decide.plan_opening(
        ref, artifact, surroundings.of_artifact(artifact, tools.host(), tools)
    )


def _target(
    ref: ModelRef,
    artifact: Artifact | None,
    host: Host,
    tools: Tools,
    *,
    wish: Wish,
    capacity: CapacityWish = ANY_CAPACITY,
    idle_gpus: str | None = None,
) -> Target:
    model = _model(ref, artifact, tools)
    found = survey(model, host, tools, capacity, everywhere=wish.narrows)
    chosen = found.unbound(found.matching(wish)[0], wish)
    if chosen.profile.backend in IN_CONTAINERS and not is_prebuilt(chosen.profile):
        # Before a registry is asked for files that this machine could do nothing with.
        decide.check_fit(chosen, model.name, ref, idle_gpus)
    choice = found.choice(wish)
    target = _target_of(ref, artifact, model, chosen, tools)
    target = msgspec.structs.replace(target, why=choice.why if choice else "")
    if target.prebuilt is None:
        return target
    decide.usable(target, NO_OPTIONS, host, builders.engines_here(tools))
    return prebuilts.with_tokenizer(target, target.prebuilt, tools)


def _model(ref: ModelRef, artifact: Artifact | None, tools: Tools) -> Model:
    return checkpoints.model_of(ref, artifact, tools) if artifact else tools.catalog.find(ref.path)


def _target_of(
    ref: ModelRef, artifact: Artifact | None, model: Model, chosen: Candidate, tools: Tools
) -> Target:
    artifact = artifact or _files_of(chosen.profile, ref, tools)
    return Target(
        ref=ref,
        model=model.name,
        architecture=model.architecture,
        candidate=chosen,
        artifact=artifact,
        family=model.family,
        nim=model.nim,
        prebuilt=prebuilts.engine_of(chosen.profile, artifact, tools),
    )


def _files_of(profile: Profile, ref: ModelRef, tools: Tools) -> Artifact:
    if profile.source is None:
        return Artifact(reference=str(ref), files=())
    return _artifact(ModelRef.parse(profile.source), tools, refresh=False)


def _source(profile: Profile) -> ModelRef:
    if profile.source is None:
        raise UsageError(f"profile {profile.name} has no files of its own: its container has them")
    return ModelRef.parse(profile.source)


def _artifact(ref: ModelRef, tools: Tools, *, refresh: bool) -> Artifact:
    pinned = tools.artifacts.pinned(ref)
    # Local files are looked at each time: it costs nothing, and a changed file must not stay stale.
    is_fixed = not refresh or tools.registries.is_offline(ref.scheme)
    again = ref.scheme in LOCAL_SCHEMES or not is_fixed
    if pinned is not None and not again:
        return pinned
    return settled(carry_digests(tools.registries.find(ref.scheme).resolve(ref), pinned), pinned)


def _port(host: str, wanted: int) -> int:
    try:
        port = free_port(host, wanted)
    except OSError as error:
        raise UsageError(
            f"this machine cannot listen on {host}",
            cause=error.strerror,
            hint="--host with an address of this machine, or 0.0.0.0 for all of them",
        ) from error
    if port is None:
        raise UsageError(
            f"port {wanted} on {host} is in use",
            hint="choose another with --port, or let nimctl choose with --port auto",
        )
    return port
