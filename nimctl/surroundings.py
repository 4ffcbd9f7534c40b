"""What is around a plan: observed for an artifact, a target, and its container."""

import shutil

import msgspec

from nimctl.core import decide
from nimctl.core.decide import Surroundings, Target
from nimctl.core.facts import Artifact, Inventory
from nimctl.core.machine import Host
from nimctl.core.profile import Candidate
from nimctl.core.refs import ModelRef
from nimctl.core.requests import ServeRequest
from nimctl.serving.health import free_ports
from nimctl.tools import Tools


def of_target(target: Target, host: Host, tools: Tools, port: int = 0) -> Surroundings:
    """What is around a target, its tokenizer included."""
    around = of_artifact(target.artifact, host, tools, target.candidate, port=port)
    if target.tokenizer is None:
        return around
    blobs = around.inventory.blobs | tools.blobs.among(target.tokenizer.files)
    inventory = msgspec.structs.replace(around.inventory, blobs=blobs)
    return msgspec.structs.replace(around, inventory=inventory)


def of_artifact(
    artifact: Artifact,
    host: Host,
    tools: Tools,
    candidate: Candidate | None = None,
    *,
    port: int = 0,
) -> Surroundings:
    """What is around an artifact; of a candidate's engine, whether the store has it."""
    return Surroundings(
        host=host,
        layout=tools.layout,
        inventory=_inventory(artifact, candidate, tools),
        builder=tools.builder.version,
        python=tools.python,
        port=port,
        running=tools.embedded_servers.running(),
    )


def _inventory(artifact: Artifact, candidate: Candidate | None, tools: Tools) -> Inventory:
    blobs = tools.blobs.among(artifact.files)
    pinned = tools.artifacts.pinned(ModelRef.parse(artifact.reference)) == artifact
    if candidate is None or artifact.digest is None:
        return Inventory(pinned=pinned, blobs=blobs)
    key = decide.recipe_for(candidate.profile, tools.builder.version).key(artifact.digest)
    engines = frozenset([key] if tools.engines.find(key) else [])
    return Inventory(pinned=pinned, blobs=blobs, engines=engines)


def in_container(
    request: ServeRequest, target: Target, around: Surroundings, tools: Tools
) -> Surroundings:
    """The same with what the container engine, its images and its registry tell."""
    image = request.image or decide.image_of(target)
    # Of a planned machine nothing is known but its hardware.
    engine = around.host.container_engine if not around.host.planned else None
    there = tools.containers.image(image) if engine else None
    asks = engine and there is None and request.may_pull
    haproxy = _haproxy(tools)
    return msgspec.structs.replace(
        around,
        image=there,
        offer=tools.registries.image_offer(image) if asks else None,
        running={**around.running, **(tools.container_servers.running() if engine else {})},
        user=tools.user(engine),
        nim_cache=tools.settings.nim_cache,
        has_registry_key=tools.registries.ngc_key() is not None,
        replica_ports=_replica_ports(request, around),
        haproxy=haproxy,
        has_router_image=bool(
            engine
            and decide.routes_in_container(request, haproxy)
            and tools.containers.image(decide.ROUTER_IMAGE)
        ),
    )


def _replica_ports(request: ServeRequest, around: Surroundings) -> tuple[int, ...]:
    most = request.replicas or len(around.host.gpus)
    return tuple(port for port in free_ports(most + 1) if port != around.port)[:most]


def _haproxy(tools: Tools) -> str | None:
    # A user's PATH often leaves out where Debian has it.
    path = f"{tools.settings.search_path}:/usr/local/sbin:/usr/sbin"
    return shutil.which("haproxy", path=path)
