"""Plans that replace the replicas of a router, one after another."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from nimctl.core.decide.container import prepared
from nimctl.core.decide.replicas import Slot
from nimctl.core.decide.serving import NO_KEYS
from nimctl.core.decide.target import Surroundings, Target
from nimctl.core.errors import HardwareError, UsageError
from nimctl.core.machine import Gpu, Host
from nimctl.core.plan import Plan, Replace
from nimctl.core.profile import Wish
from nimctl.core.requests import ServeRequest, UpdateRequest
from nimctl.core.servers import REQUEST_LABEL, Member
from nimctl.core.serving import PINNED


def original_request(replica: Member) -> ServeRequest:
    """What a replica was asked to be; its variables are those of its container.

    Raises:
        UsageError: Nothing tells.
    """
    label = replica.container.labels.get(REQUEST_LABEL)
    try:
        request = msgspec.json.decode(label or "", type=ServeRequest)
    except msgspec.DecodeError as error:
        raise UsageError(
            f"what {replica.server.name} was asked to be is not known",
            cause="its labels are those of another version of nimctl",
            hint=f"nimctl stop {replica.server.group}, then serve it anew",
        ) from error
    variables = {name: replica.container.environment.get(name, "") for name in request.environment}
    return msgspec.structs.replace(request, environment=variables)


def updated_request(update: UpdateRequest, replica: Member) -> ServeRequest:
    """What the replicas are asked to be from now on: the same, with what was changed."""
    old = original_request(replica)
    return msgspec.structs.replace(
        old,
        name=update.name,
        wish=_wish(update, replica, old.wish),
        image=update.image or old.image,
        environment={**old.environment, **update.environment},
        pull=update.pull,
        timeout_s=update.timeout_s or old.timeout_s,
        offline=old.offline or update.offline,
        detach=True,
    )


def _wish(update: UpdateRequest, replica: Member, old: Wish) -> Wish:
    """What is asked for is kept; outside of NIMs, so is what was chosen for it then."""
    if replica.server.backend == "nim":
        profile = update.profile or old.profile
        return msgspec.structs.replace(old, backend="nim", profile=profile)
    return Wish(profile=update.profile or replica.server.profile, lora=old.lora)


def keeping_profile(update: UpdateRequest, request: ServeRequest, replica: Member) -> ServeRequest:
    """The request, by which a NIM keeps its profile; another image may not have that, and chooses.

    It is no request to be kept: what is asked for then is still what was asked for.
    """
    pinned = replica.container.environment.get(PINNED)
    if replica.server.backend != "nim" or update.image or update.profile or not pinned:
        return request
    wish = msgspec.structs.replace(request.wish, profile=pinned)
    return msgspec.structs.replace(request, wish=wish)


def place_of(replica: Member, host: Host) -> Host:
    """The host with the GPUs of a replica alone, as they are when it has ended."""
    uuids = _uuids(replica)
    freed = tuple(
        msgspec.structs.replace(gpu, memory_used_bytes=0, memory_free_bytes=gpu.memory_total_bytes)
        for gpu in host.gpus
        if gpu.uuid in uuids
    )
    return msgspec.structs.replace(host, gpus=freed) if freed else host


def _uuids(replica: Member) -> tuple[str, ...]:
    devices = replica.container.devices
    return devices.uuids if devices else ()


def plan_update(
    update: UpdateRequest,
    request: ServeRequest,
    target: Target,
    around: Surroundings,
    replicas: tuple[Member, ...],
) -> Plan:
    """Have the new image and files, then replace each replica where it is.

    Raises:
        ContainerEngineError: There is no container engine, or it has no GPUs to give.
        HardwareError: The machine cannot run the profile, or not on the GPUs of a replica.
        NotFoundError: The image is not there and may not be pulled.
        UsageError: The router cannot serve both the old and the new.
        DiskFullError: The files or the engine do not fit.
    """
    places = tuple(_place(one, around.host, target) for one in replicas)
    made = prepared(request, target, around, places, keys=NO_KEYS, group=update.name)
    for old, launch in zip(replicas, made.launches, strict=True):
        if old.server.health_path != launch.server.health_path:
            raise UsageError(
                f"{update.name} cannot become {launch.server.backend} while it serves",
                cause=f"its router asks for {old.server.health_path}, and the new replicas answer"
                f" on {launch.server.health_path}",
                hint=f"nimctl stop {update.name}, then serve it anew",
            )
    replace = (
        Replace(launch=launch, ready=ready, drain_s=update.drain_s)
        for launch, ready in zip(made.launches, made.waits, strict=True)
    )
    alone = (f"WARNING: {update.name} has one replica: requests fail while it is replaced",)
    notes = alone if len(replicas) == 1 else ()
    return Plan(steps=(*made.steps, *replace), notes=(*made.notes, *notes))


def _place(old: Member, host: Host, target: Target) -> Slot:
    by_uuid: Mapping[str, Gpu] = {gpu.uuid: gpu for gpu in host.gpus}
    uuids = _uuids(old)
    missing = [uuid for uuid in uuids if uuid not in by_uuid]
    if missing:
        raise HardwareError(
            f"the GPUs of {old.server.name} cannot be used any more",
            cause=", ".join(missing),
            hint="nimctl doctor",
        )
    profile = target.candidate.profile
    if profile.backend != "llama_cpp" and profile.gpus_needed != len(uuids):
        raise HardwareError(
            f"profile {profile.name} needs {profile.gpus_needed} GPUs,"
            f" and {old.server.name} has {len(uuids)}",
            hint=f"nimctl stop {old.server.group}, then serve it anew",
        )
    return Slot(
        name=old.server.name,
        port=urlsplit(old.server.url).port or 0,
        address="127.0.0.1",
        gpus=tuple(by_uuid[uuid] for uuid in uuids),
    )
