"""From a server that was asked for to the container that is created."""

from collections.abc import Callable, Iterator

import msgspec

from nimctl.core.containers import ContainerSpec, Mount, PublishedPort
from nimctl.core.serving import llama_cpp, nemollm, nim, sglang, tensorrt_llm, vllm
from nimctl.core.serving.backends import BACKENDS
from nimctl.core.serving.part import Part
from nimctl.core.serving.serving import ADAPTERS, Serving

_PARTS: dict[str, Callable[[Serving], Part]] = {
    "tensorrt_llm": tensorrt_llm.part,
    "vllm": vllm.part,
    "sglang": sglang.part,
    "nim": nim.part,
    "nemollm": nemollm.part,
    "llama_cpp": llama_cpp.part,
}
_GIB = 2**30
_TMP_BYTES = 8 * _GIB


def container(serving: Serving) -> ContainerSpec:
    """Say a server in the words of its backend; what they share is said here, once.

    Nothing of it depends on the machine: mounts, user, devices and ports are in `serving`.
    """
    backend = BACKENDS[serving.profile.backend]
    part = _PARTS[backend.name](serving)
    adapters = tuple(
        Mount(source=one.directory, target=f"{ADAPTERS}/{one.name}") for one in serving.adapters
    )
    return ContainerSpec(
        name=serving.name,
        image=serving.image,
        entrypoint=part.entrypoint,
        command=(*part.command, *serving.arguments),
        environment={**part.environment, **serving.environment},
        secrets=part.secrets,
        mounts=(*part.mounts, *adapters),
        tmpfs={"/tmp": _TMP_BYTES},  # noqa: S108
        ports=() if part.network == "host" else tuple(_ports(serving, part, backend.port)),
        network=part.network or serving.network,
        devices=serving.devices,
        user=serving.user if backend.runs_as_user else None,
        read_only_root=backend.read_only_root,
        ipc=part.ipc,
        shm_bytes=part.shm_bytes,
        ulimits=part.ulimits,
        memory_limit_bytes=serving.memory_limit_bytes,
        restart="unless-stopped" if serving.restarts else "no",
    )


def _ports(serving: Serving, part: Part, usual: int) -> Iterator[PublishedPort]:
    yield PublishedPort(container=part.port or usual, host=serving.port, address=serving.address)
    for port in () if serving.is_one_of_many else part.more_ports:
        yield PublishedPort(container=port, host=port, address=serving.address)


def with_labels(spec: ContainerSpec, labels: dict[str, str]) -> ContainerSpec:
    """The same container under more labels."""
    return msgspec.structs.replace(spec, labels={**spec.labels, **labels})
