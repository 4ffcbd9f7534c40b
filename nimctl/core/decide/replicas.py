"""Replicas of one model, and the router in front of them."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from nimctl.core.containers import ContainerSpec, Mount
from nimctl.core.decide.serving import Keys
from nimctl.core.decide.target import Surroundings, Target
from nimctl.core.errors import HardwareError, NotFoundError, UsageError
from nimctl.core.fit.groups import groups_of
from nimctl.core.machine import Gpu, Host
from nimctl.core.placement import place
from nimctl.core.plan import Await, Configure, Launch, LaunchContainer, PullImage, Step
from nimctl.core.requests import ServeRequest
from nimctl.core.router import Replica, Router, haproxy_argv
from nimctl.core.servers import Server
from nimctl.core.serving import BACKENDS
from nimctl.core.value import Value

# Docker's official image: https://hub.docker.com/_/haproxy. Its STOPSIGNAL is SIGUSR1, on which
# HAProxy finishes what is open; so does nimctl with the program.
ROUTER_IMAGE = "haproxy:lts"
_ROUTER_START_S = 30.0


class Slot(Value):
    """Where one replica runs: its name, its port and the GPUs that are its own."""

    name: str
    port: int
    address: str
    gpus: tuple[Gpu, ...] = ()


def needs_router(request: ServeRequest, target: Target, keys: Keys) -> bool:
    """Several replicas need one; so do keys or TLS that the backend does not know."""
    backend = BACKENDS[target.candidate.profile.backend]
    guarded = keys.file is not None and not backend.checks_keys
    return request.replicas != 1 or guarded or request.certificate is not None


def slots(
    request: ServeRequest, target: Target, around: Surroundings, name: str, *, routed: bool
) -> tuple[Slot, ...]:
    """Where the replicas run; of `auto` there are as many as there are GPUs for.

    Raises:
        HardwareError: There are not enough GPUs of one kind.
        UsageError: `auto` on a machine where nothing bounds it.
    """
    if not routed:
        (gpus,) = _groups(request, target, around, 1)
        return (Slot(name=name, port=around.port, address=request.host, gpus=gpus),)
    groups = _groups(request, target, around, request.replicas)
    return tuple(
        Slot(name=f"{name}-{index}", port=port, address="127.0.0.1", gpus=gpus)
        for index, (gpus, port) in enumerate(zip(groups, around.replica_ports, strict=False), 1)
    )


def routes_in_container(request: ServeRequest, haproxy: str | None) -> bool:
    """Whether a router would be a container rather than the program `haproxy`."""
    # What the engine starts again after a boot finds its router only if that is started again too.
    return haproxy is None or request.restarts


def router_steps(
    request: ServeRequest,
    around: Surroundings,
    *,
    server: Server,
    replicas: tuple[Server, ...],
    keys: Keys,
) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """What the router needs first, then how it is configured, started and waited for.

    Raises:
        NotFoundError: There is neither the program nor its image, and this may not be pulled.
    """
    router = Router(
        name=server.name,
        directory=str(around.layout.router(server.name)),
        address=request.host,
        port=around.port,
        replicas=tuple(
            Replica(name=one.name, port=urlsplit(one.url).port or 0) for one in replicas
        ),
        health_path=replicas[0].health_path,
        checks_keys=keys.file is not None,
        certificate=request.certificate,
        max_requests=request.max_num_seqs,
    )
    in_container = routes_in_container(request, around.haproxy)
    configure = Configure(
        router=router,
        api_key_file=keys.file,
        generate_api_key=keys.generate,
        user=around.user if in_container else None,
    )
    launch: Launch | LaunchContainer
    if in_container:
        launch = _in_container(router, server, request, around)
    else:
        argv = haproxy_argv(router, around.haproxy or "haproxy")
        launch = Launch(server=server, argv=argv, detach=request.detach, is_ours=False)
    ready = Await(server=server, timeout_s=_ROUTER_START_S)
    return tuple(_pull(request, around)) if in_container else (), (configure, launch, ready)


def _in_container(
    router: Router, server: Server, request: ServeRequest, around: Surroundings
) -> LaunchContainer:
    argv = haproxy_argv(router)
    program, arguments = argv[:1], argv[1:]
    spec = ContainerSpec(
        name=server.name,
        image=ROUTER_IMAGE,
        entrypoint=program,
        command=arguments,
        mounts=(Mount(source=router.directory, target=router.directory, read_only=False),),
        # The replicas are published on loopback, where only the host's own network finds them.
        network="host",
        user=around.user,
        restart="unless-stopped" if request.restarts else "no",
    )
    return LaunchContainer(server=server, container=spec, detach=request.detach)


def _pull(request: ServeRequest, around: Surroundings) -> Iterator[Step]:
    engine = around.host.container_engine
    if around.has_router_image or engine is None:
        return
    if not request.may_pull:
        raise NotFoundError(
            f"neither the program haproxy nor the image {ROUTER_IMAGE} is here",
            cause="--offline is given" if request.offline else "--pull never is given",
            hint=f"apt-get install haproxy, or docker pull {ROUTER_IMAGE}",
        )
    yield PullImage(image=ROUTER_IMAGE, platform=f"linux/{engine.architecture}")


def _groups(
    request: ServeRequest, target: Target, around: Surroundings, count: int | None
) -> tuple[tuple[Gpu, ...], ...]:
    """The GPUs of each replica; each GPU is in at most one."""
    profile = target.candidate.profile
    if profile.backend == "llama_cpp":
        if count is None:
            raise UsageError(
                "--replicas auto counts GPUs, and llama_cpp serves on the CPU",
                hint="--replicas N",
            )
        return ((),) * count
    size = profile.gpus_needed
    if profile.backend == "nim" and profile.entry is None and count == 1:
        # It chooses by itself, and for as many as it gets.
        size = request.gpus.count or size
    judged = target.candidate.gpus
    if count == 1 and len(judged) == size:
        return (judged,)
    alike = _alike(judged, around.host)
    made = place(alike, size, count)
    if not made:
        raise HardwareError(
            f"{size} identical GPUs are needed, {len(alike)} are free",
            hint="nimctl ps shows which server has which, nimctl doctor what there is",
        )
    if count is not None and len(made) < count:
        raise HardwareError(
            f"{count} replicas need {count} times {size} identical GPUs",
            cause=f"there are enough for {len(made)}",
            hint=f"--replicas {len(made)}, or --replicas auto",
        )
    return made


def _alike(judged: tuple[Gpu, ...], host: Host) -> tuple[Gpu, ...]:
    """The GPUs of the kind that the profile was judged on; any of them may answer for another."""
    groups = groups_of(host)
    chosen = (group.gpus for group in groups if set(judged) & set(group.gpus))
    return next(chosen, groups[0].gpus if groups else ())
