"""Plans that start a server once, so that its kernels are there before anybody asks."""

import hashlib
from collections.abc import Iterator

import msgspec

from nimctl.core.decide.adapters import Adapters
from nimctl.core.decide.contained import Shared, keeping_kernels, kernel_cache, serving
from nimctl.core.decide.engine_use import checkpoint_use
from nimctl.core.decide.replicas import Slot
from nimctl.core.decide.serving import NO_KEYS, deadline_s, describe_server, readiness, url_at
from nimctl.core.decide.target import Surroundings, Target, directory
from nimctl.core.layout import engine_directory
from nimctl.core.plan import Attach, Await, Build, LaunchContainer, Plan, PullImage, Step, WarmUp
from nimctl.core.requests import ServeRequest
from nimctl.core.serving import BACKENDS, container
from nimctl.core.trtllm.serve_options import OPTIONS_FILE

_LOOPBACK = "127.0.0.1"
# Kernels of a first start took users up to 13 minutes (flashinfer-ai/flashinfer#4110).
_COMPILING_S = 1800.0
_PATIENCE = 4


def warmed(plan: Plan, target: Target, around: Surroundings) -> Plan:
    """The plan of a build, with a start of the server where that compiles kernels."""
    build = next(step for step in plan.steps if isinstance(step, Build))
    if build.recipe.strategy != "pytorch" or build.job is None:
        return plan
    if build.job.image is None:
        note = "no warm-up: servers run in a container, and this is built without one"
        return msgspec.structs.replace(plan, notes=(*plan.notes, note))
    pulled = any(isinstance(step, PullImage) for step in plan.steps)
    facts = around.building
    if facts.image is None and not pulled and not facts.may_pull:
        note = f"no warm-up: {build.job.image} is not here, and --offline is given"
        return msgspec.structs.replace(plan, notes=(*plan.notes, note))
    note = (
        "warm-up: its server is started once and what it compiles is kept; "
        "--no-warm-up leaves that out"
    )
    return msgspec.structs.replace(
        plan,
        steps=(*plan.steps, *_steps(build, build.job.image, target, around, pulled=pulled)),
        notes=(*plan.notes, note),
    )


def _steps(
    build: Build, image: str, target: Target, around: Surroundings, *, pulled: bool
) -> Iterator[Step]:
    facts, engine = around.building, around.host.container_engine
    if facts.image is None and not pulled and engine:
        yield PullImage(image=image, platform=f"linux/{engine.architecture}")
    there = any(one.key == build.key for one in facts.engines if one.key not in facts.pulled)
    attach = Attach(
        reference=build.reference,
        directory=build.directory,
        recipe=build.recipe,
        engine=str(around.layout.engine(build.key)) if build.key and there else None,
    )
    yield attach
    around = msgspec.structs.replace(around, image=facts.image, user=facts.user)
    yield _warm_up(build, image, target, around)


def _warm_up(build: Build, image: str, target: Target, around: Surroundings) -> WarmUp:
    # As a user would serve it, but for the network: a build has none.
    request = ServeRequest(ref=target.ref, offline=True)
    place = directory(target, around.layout)
    name = f"nimctl-warm-{hashlib.sha256(str(place).encode()).hexdigest()[:12]}"
    slot = Slot(name=name, port=around.port, address=_LOOPBACK, gpus=target.candidate.gpus)
    outputs = build.job.outputs if build.job else ()
    shared = Shared(
        image=image,
        keys=NO_KEYS,
        adapters=Adapters(),
        group=None,
        engine=checkpoint_use(target, around, build.recipe, outputs),
    )
    asked = msgspec.structs.replace(
        serving(request, target, around, slot, shared),
        options_file=str(place / engine_directory(build.recipe.backend) / OPTIONS_FILE),
    )
    spec = container(asked)
    cache = kernel_cache(target, around, slot, shared, spec)
    backend = BACKENDS[asked.profile.backend]
    server = describe_server(
        target,
        around,
        name=name,
        url=url_at(_LOOPBACK, around.port, tls=False),
        keys=NO_KEYS,
        health_path=backend.health_path,
        metrics_path=backend.metrics_path,
    )
    timeout_s = deadline_s(request, target, start_s=_COMPILING_S)
    return WarmUp(
        launch=LaunchContainer(
            server=server,
            container=keeping_kernels(spec, cache, around),
            detach=False,
            cache=cache,
        ),
        ready=Await(
            server=server,
            timeout_s=timeout_s,
            limit_s=timeout_s * _PATIENCE,
            until=readiness(request, target),
        ),
    )
