"""Servers: what is known of a running model, whoever runs it."""

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import msgspec

from nimctl.core.containers import LABEL_PREFIX, ContainerSpec
from nimctl.core.value import Value

# Addresses where only this machine reaches a server.
LOOPBACK = ("127.0.0.1", "::1", "localhost")
Readiness: TypeAlias = Literal["none", "ready", "token"]


class Server(Value):
    """A running model: kept as the labels of its container, or in the state of its process.

    `profile` is its name, `reason` why it was chosen, `plan` what else was decided. It answers at
    `url`, is ready when `health_path` gives HTTP 200, and counts requests at `metrics_path`. A
    replica has the name of its router as `group`. `home` is the nimctl home that it belongs to: one
    engine may have servers of several.
    """

    name: str
    model: str
    reference: str
    profile: str
    backend: str
    url: str
    reason: str = ""
    plan: str = ""
    health_path: str = "/health"
    metrics_path: str | None = "/metrics"
    api_key_file: str | None = None
    group: str | None = None
    home: str | None = None


class Member(Value):
    """A replica of a group, and what its container was created with."""

    server: Server
    container: ContainerSpec


NAME_LABEL = f"{LABEL_PREFIX}name"
HOME_LABEL = f"{LABEL_PREFIX}home"
GROUP_LABEL = f"{LABEL_PREFIX}group"
# What a replica was asked to be, so that it can be replaced by one that is asked for the same.
REQUEST_LABEL = f"{LABEL_PREFIX}request"


def planned(server: Server, notes: Iterable[str]) -> Server:
    """The server as the notes of its plan tell of it."""
    return msgspec.structs.replace(server, plan="; ".join(notes))


def labels_of(server: Server) -> dict[str, str]:
    """A server as the labels of its container; no field of it is a secret."""
    fields = msgspec.structs.asdict(server)
    return {f"{LABEL_PREFIX}{field}": value for field, value in fields.items() if value is not None}


def server_of(labels: Mapping[str, str]) -> Server:
    """The server that a container's labels describe; labels of later versions are left alone."""
    known = set(Server.__struct_fields__)
    fields = {label.removeprefix(LABEL_PREFIX): value for label, value in labels.items()}
    nothing = {"metrics_path": None}
    return msgspec.convert(
        {**nothing, **{field: value for field, value in fields.items() if field in known}}, Server
    )
