"""NVIDIA NIM, 1.x, 2.x and the families beside LLMs.

The image's own entry point is kept. Variables:
https://docs.nvidia.com/nim/large-language-models/latest/reference/environment-variables.html
"""

from collections.abc import Iterator

from nimctl.core.containers import Mount, Secret
from nimctl.core.serving.backends import BACKENDS
from nimctl.core.serving.part import Part
from nimctl.core.serving.serving import ADAPTERS, Serving

# What names the profile that a NIM is to run.
PINNED = "NIM_MODEL_PROFILE"
_CACHE = "/opt/nim/.cache"
# The run line of NVIDIA's documentation.
_SHM_GIB = 16.0


def part(serving: Serving) -> Part:
    """The variables and mounts of a NIM."""
    nim = serving.nim
    port = nim.ports.get("http") if nim else None
    cache = nim.cache_path if nim else _CACHE
    shm = (nim.shm_gib if nim else None) or _SHM_GIB
    # NIM locks and extends its cache, so that this one mount is writable.
    mounts = [Mount(source=serving.cache, target=cache, read_only=False)] if serving.cache else []
    variable = nim.key_variable if nim else "NGC_API_KEY"
    key = serving.key_file
    secrets = (Secret(name="ngc-key", source=key, variable=variable),) if key else ()
    return Part(
        command=(),
        environment=dict(_variables(serving, cache, port or BACKENDS["nim"].port)),
        secrets=secrets,
        mounts=tuple(mounts),
        port=port,
        more_ports=tuple(one for what, one in nim.ports.items() if what != "http") if nim else (),
        shm_bytes=round(shm * 2**30),
        ulimits=nim.ulimits if nim else {},
    )


def _variables(serving: Serving, cache: str, port: int) -> Iterator[tuple[str, str]]:
    capacity = serving.capacity
    if serving.nim:
        yield from serving.nim.environment.items()
    yield ("NIM_CACHE_PATH", cache)
    # LLMs read the first, the other families the second.
    yield ("NIM_SERVER_PORT", str(port))
    yield ("NIM_HTTP_API_PORT", str(port))
    if serving.nim_profile:
        yield (PINNED, serving.nim_profile)
    if not serving.downloads:
        yield ("NIM_DISABLE_MODEL_DOWNLOAD", "1")
    yield ("NIM_SERVED_MODEL_NAME", serving.model)
    yield ("DO_NOT_TRACK", "1")
    if capacity.max_model_len:
        yield ("NIM_MAX_MODEL_LEN", str(capacity.max_model_len))
    if serving.adapters:
        yield ("NIM_PEFT_SOURCE", ADAPTERS)
