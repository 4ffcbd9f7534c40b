"""Plans that serve from a container."""

from collections.abc import Iterator

import msgspec

from nimctl.core.decide import on_cpu
from nimctl.core.decide.adapters import checked_adapters
from nimctl.core.decide.build import engine_steps
from nimctl.core.decide.contained import (
    Shared,
    engine_of,
    has_built_engine,
    keeping_kernels,
    kernel_cache,
    options_file,
    options_text,
    serving,
)
from nimctl.core.decide.engine_use import EngineUse, engine_use, prebuilt_use, ready_use
from nimctl.core.decide.fetch import check_room, prepare
from nimctl.core.decide.prebuilt import image_of_engine
from nimctl.core.decide.replicas import Slot, needs_router, router_steps, slots
from nimctl.core.decide.serving import (
    NO_KEYS,
    Keys,
    api_keys,
    check_fit,
    deadline_s,
    describe_server,
    key_notes,
    readiness,
    request_labels,
    server_name,
    url_at,
    url_of,
)
from nimctl.core.decide.target import Surroundings, Target
from nimctl.core.errors import ContainerEngineError, NotFoundError, UsageError
from nimctl.core.image_check import check_image
from nimctl.core.machine import ContainerEngine, Gpu
from nimctl.core.placement import nodes_of
from nimctl.core.plan import Await, LaunchContainer, Plan, PullImage, Step, Write
from nimctl.core.requests import IN_CONTAINERS, ServeRequest
from nimctl.core.router import ROUTER
from nimctl.core.servers import Server, planned
from nimctl.core.serving import BACKENDS, container, with_labels
from nimctl.core.value import Value

_START_S = 120.0
_PATIENCE = 4


class Prepared(Value):
    """What has to be there first, then each replica's container and what to wait for."""

    steps: tuple[Step, ...]
    launches: tuple[LaunchContainer, ...]
    waits: tuple[Await, ...]
    notes: tuple[str, ...]


def plan_container(request: ServeRequest, target: Target, around: Surroundings) -> Plan:
    """Everything from the first byte to the ready container.

    Raises:
        ContainerEngineError: There is no container engine, or it has no GPUs to give.
        HardwareError: The machine cannot run the profile, or not its image.
        NotFoundError: The image is not there and may not be pulled.
        UsageError: The name is taken, or an option does not go with the backend.
        DiskFullError: The files or the engine do not fit.
    """
    _check_machine(target, around)
    on_cpu.check_required(request, target, around)
    name = server_name(request, around.running)
    keys = api_keys(request, around, name)
    if not needs_router(request, target, keys):
        places = slots(request, target, around, name, routed=False)
        made = prepared(request, target, around, places, keys=keys)
        return Plan(steps=(*made.steps, *made.launches, *made.waits), notes=made.notes)
    places = slots(request, target, around, name, routed=True)
    # The router has checked keys before a request reaches a replica.
    made = prepared(request, target, around, places, keys=NO_KEYS, group=name)
    notes = (*made.notes, *key_notes(keys))
    pull, router = router_steps(
        request,
        around,
        server=planned(_router_server(request, target, around, name, keys), notes),
        replicas=tuple(launch.server for launch in made.launches),
        keys=keys,
    )
    return Plan(
        steps=(*pull, *made.steps, *made.launches, *made.waits, *router),
        notes=notes,
    )


def prepared(
    request: ServeRequest,
    target: Target,
    around: Surroundings,
    places: tuple[Slot, ...],
    *,
    keys: Keys,
    group: str | None = None,
) -> Prepared:
    """Image, files and engine, and the containers that run in these places.

    Raises:
        ContainerEngineError: There is no container engine, or it has no GPUs to give.
        HardwareError: The machine cannot run the profile, or not its image.
        NotFoundError: The image is not there and may not be pulled.
        UsageError: An option does not go with the backend.
        DiskFullError: The files or the engine do not fit.
    """
    engine = _check_machine(target, around)
    image = request.image or image_of(target)
    pull = tuple(_pull(request, image, engine, around))
    if target.artifact.files:
        check_room(target, around)
    use = _use(request, target, around, image)
    if use is not None:
        build, note = use.steps, use.note
    else:
        build, note = engine_steps(target, around) if target.artifact.files else ((), "")
    adapters = checked_adapters(target, around, engine=engine_of(target, around, use))
    shared = Shared(image=image, keys=keys, adapters=adapters, group=group, engine=use)
    launches = tuple(_launch(request, target, around, slot, shared) for slot in places)
    notes = (
        note or _chosen(target),
        *_notes(launches, places, around),
        *on_cpu.notes(target, around),
        *_unpublished(request, target),
        *_open_to_all(launches),
        *key_notes(keys),
        *adapters.notes,
    )
    launches = tuple(
        msgspec.structs.replace(one, server=planned(one.server, notes)) for one in launches
    )
    files = tuple(prepare(target, around)) if target.artifact.files else target.bring
    text = options_text(shared)
    options = (Write(path=options_file(slot.name, around), text=text) for slot in places if text)
    return Prepared(
        steps=(*pull, *files, *build, *options),
        launches=launches,
        waits=tuple(_await(request, target, launch) for launch in launches),
        notes=notes,
    )


def _use(
    request: ServeRequest, target: Target, around: Surroundings, image: str
) -> EngineUse | None:
    if target.prebuilt is not None:
        return prebuilt_use(target, around, request.image, request.capacity)
    if has_built_engine(target):
        return engine_use(target, around, image, request.capacity)
    if target.candidate.profile.runtime == "pytorch":
        return ready_use(target, around, image, request.capacity)
    return None


def _check_machine(target: Target, around: Surroundings) -> ContainerEngine:
    check_fit(target.candidate, target.model, target.ref)
    engine = _container_engine(target, around)
    _check_devices(target, engine)
    return engine


def _router_server(
    request: ServeRequest, target: Target, around: Surroundings, name: str, keys: Keys
) -> Server:
    server = describe_server(
        target,
        around,
        name=name,
        url=url_of(request, around.port),
        keys=keys,
        health_path="/v1/health/ready",
        metrics_path="/router/metrics",
    )
    return msgspec.structs.replace(server, backend=ROUTER)


def _launch(
    request: ServeRequest, target: Target, around: Surroundings, slot: Slot, shared: Shared
) -> LaunchContainer:
    asked = serving(request, target, around, slot, shared)
    backend = BACKENDS[asked.profile.backend]
    nim = target.nim if backend.name == "nim" else None
    server = describe_server(
        target,
        around,
        name=slot.name,
        url=url_at(slot.address, slot.port, tls=False),
        keys=shared.keys,
        health_path=nim.health_path if nim else backend.health_path,
        metrics_path=backend.metrics_path,
    )
    spec = with_labels(container(asked), request_labels(request) if shared.group else {})
    cache = kernel_cache(target, around, slot, shared, spec)
    return LaunchContainer(
        server=msgspec.structs.replace(server, group=shared.group),
        container=keeping_kernels(spec, cache, around),
        detach=request.detach,
        alone=bool(slot.gpus) and not request.gpus.shared,
        generate_api_key=shared.keys.generate,
        registry_key_file=asked.key_file,
        cache=cache,
    )


def _await(request: ServeRequest, target: Target, launch: LaunchContainer) -> Await:
    timeout_s = deadline_s(request, target, start_s=_start_s(target))
    return Await(
        server=launch.server,
        timeout_s=timeout_s,
        # What the user allows is all there is; what nimctl reckons, a slow disk may exceed.
        limit_s=None if request.timeout_s else timeout_s * _PATIENCE,
        until=readiness(request, target),
    )


def plan_image(request: ServeRequest, target: Target, around: Surroundings) -> Plan | None:
    """Bring the image before the rest is planned, as its manifest says what to serve.

    None when it is there, or does not have to be asked.

    Raises:
        NimctlError: As for `plan_container`.
    """
    profile = target.candidate.profile
    if profile.backend != "nim" or request.manifest or around.host.planned:
        return None
    check_fit(target.candidate, target.model, target.ref)
    image = request.image or image_of(target)
    engine = _container_engine(target, around)
    steps = tuple(_pull(request, image, engine, around))
    if around.image is not None or not steps:
        return None
    size = f", {around.offer.size / 2**30:.1f} GiB" if around.offer and around.offer.size else ""
    note = f"{image} is pulled first{size}: its manifest says which profiles it has"
    return Plan(steps=steps, notes=(note,), again=True)


def runs_in_container(request: ServeRequest, target: Target) -> bool:
    """Whether the chosen profile is served from a container rather than a process."""
    return request.wants_container or target.candidate.profile.backend in IN_CONTAINERS


def own_port(target: Target) -> int | None:
    """The port of a backend that is on the host's network as its text has it."""
    backend = BACKENDS.get(target.candidate.profile.backend)
    return backend.port if backend and backend.on_host else None


def image_of(target: Target) -> str:
    """The image of the model's own NIM, or the backend's usual one.

    Raises:
        UsageError: Neither has one.
    """
    profile = target.candidate.profile
    if target.prebuilt is not None:
        return image_of_engine(target.prebuilt)
    own = target.nim.image if target.nim and profile.backend in ("nim", "nemollm") else None
    image = own or BACKENDS[profile.backend].image
    if image is None:
        raise UsageError(
            f"no image is known for profile {profile.name} of {target.model}",
            hint="name one with --image",
        )
    return image


def _container_engine(target: Target, around: Surroundings) -> ContainerEngine:
    engine = around.host.container_engine
    if engine is None:
        troubles = around.host.troubles
        raise ContainerEngineError(
            f"profile {target.candidate.profile.name} runs in a container, and no container engine"
            " answers",
            cause=next(
                (one.message for one in troubles if one.kind == "no-container-engine"), None
            ),
            hint="nimctl doctor; or --backend llama_cpp serves on the CPU without a container",
        )
    return engine


def _pull(
    request: ServeRequest, image: str, engine: ContainerEngine, around: Surroundings
) -> Iterator[Step]:
    there = around.image
    check_image(image, there, around.offer, engine)
    if there is None and not request.may_pull:
        raise NotFoundError(
            f"the image {image} is not here",
            cause="--offline is given" if request.offline else "--pull never is given",
            hint=f"docker pull {image}",
        )
    if there is None or (request.pull == "always" and request.may_pull):
        yield PullImage(image=image, platform=f"linux/{engine.architecture}")


def _check_devices(target: Target, engine: ContainerEngine) -> None:
    if target.candidate.profile.backend == "llama_cpp" or engine.offers_gpus:
        return
    raise ContainerEngineError(
        f"{engine.kind} {engine.version} cannot give GPUs to containers",
        cause="it has neither the NVIDIA runtime nor CDI devices",
        hint="sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker",
    )


def _start_s(target: Target) -> float:
    told = target.nim.start_minutes if target.nim else None
    return _START_S + (told or 0) * 60


def _chosen(target: Target) -> str:
    how = "its files are laid out in NIM's cache" if target.bring else "its container brings them"
    return f"profile {target.candidate.profile.name}: {how}"


def _notes(
    launches: tuple[LaunchContainer, ...],
    places: tuple[Slot, ...],
    around: Surroundings,
) -> Iterator[str]:
    if around.offer and around.offer.size:
        yield f"{around.offer.reference} is pulled: {around.offer.size / 2**30:.1f} GiB"
    for launch, place in zip(launches, places, strict=True):
        who = f"{place.name}: " if launch.server.group else ""
        yield f"{who}{launch.container.image} on {_where(place.gpus, around)}"


def _unpublished(request: ServeRequest, target: Target) -> Iterator[str]:
    nim = target.nim if target.candidate.profile.backend == "nim" else None
    if nim is None or request.replicas == 1:
        return
    for what, port in nim.ports.items():
        if what != "http":
            yield f"WARNING: {what} on port {port} is not published: a router speaks HTTP"


def _open_to_all(launches: tuple[LaunchContainer, ...]) -> Iterator[str]:
    for launch in launches:
        if launch.container.network == "host":
            yield (
                f"WARNING: {launch.server.name} is on the host's network, as its text has it: other"
                " machines may reach it, without a key; --api-key-file puts a router before it"
            )


def _where(gpus: tuple[Gpu, ...], around: Surroundings) -> str:
    if not gpus:
        return "the CPU"
    names = ", ".join(f"{gpu.index} ({gpu.name})" for gpu in gpus)
    nodes = nodes_of(gpus) if len(nodes_of(around.host.gpus)) > 1 else ()
    near = f", NUMA node{'s' if len(nodes) > 1 else ''} {' and '.join(map(str, nodes))}"
    return f"GPU {names}{near if nodes else ''}"
