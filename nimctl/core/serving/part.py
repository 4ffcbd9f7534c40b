"""The part of a container that only its backend knows."""

from nimctl.core.containers import Mount, Secret
from nimctl.core.value import Value

# https://github.com/NVIDIA/TensorRT-LLM, docs/source/installation/containers.md: without the
# host's IPC namespace NCCL can die with "Bus error", and pinned memory needs the limits.
GPU_ULIMITS = {"memlock": -1, "stack": 67108864}
# An arbitrary user has no entry in the image's passwd, so that PyTorch finds neither its name nor
# its home: https://github.com/kserve/kserve/issues/5666. /tmp is a tmpfs of the container's own.
USER = {"HOME": "/tmp", "USER": "nimctl"}  # noqa: S108
# The model is local: no look-up at the Hub, and no usage report
# (https://nvidia.github.io/TensorRT-LLM/developer-guide/telemetry.html,
# https://docs.vllm.ai/en/latest/usage/usage_stats.html).
QUIET = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1"}


def mounted(*files: tuple[str | None, str]) -> tuple[Mount, ...]:
    """What is given, each source with its target, read-only."""
    return tuple(Mount(source=source, target=target) for source, target in files if source)


class Part(Value):
    """A backend's own words; the fields are those of ContainerSpec.

    `port` is the one that speaks HTTP, None for the backend's usual one; `more_ports` are published
    under their own numbers.
    """

    command: tuple[str, ...]
    entrypoint: tuple[str, ...] | None = None
    environment: dict[str, str] = {}
    secrets: tuple[Secret, ...] = ()
    mounts: tuple[Mount, ...] = ()
    port: int | None = None
    more_ports: tuple[int, ...] = ()
    network: str | None = None
    ipc: str | None = None
    shm_bytes: int | None = None
    ulimits: dict[str, int] = {}
