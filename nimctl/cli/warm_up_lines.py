"""Warm caches as shell lines: their directories, and the start that fills one."""

import json
import shlex
from collections.abc import Iterable, Iterator

import msgspec

from nimctl.core.layout import Layout
from nimctl.core.plan import LaunchContainer, Replace, Step, WarmUp
from nimctl.core.trtllm.kernel_cache import with_cache


def with_kernels(step: Step, layout: Layout) -> Step:
    """A step whose container has the directory of its kernels.

    While the digests that name it are not known, the names of image and model stand for them.
    """
    if isinstance(step, Replace | WarmUp):
        return msgspec.structs.replace(step, launch=_placed(step.launch, layout))
    return _placed(step, layout) if isinstance(step, LaunchContainer) else step


def _placed(launch: LaunchContainer, layout: Layout) -> LaunchContainer:
    cache, spec = launch.cache, launch.container
    if cache is None:
        return launch
    key = cache.known_key or cache.key(cache.image or spec.image, cache.model or cache.reference)
    directory = str(layout.kernels(key, cache.indices))
    return msgspec.structs.replace(launch, container=with_cache(spec, directory))


def first_start(step: WarmUp, launch: Iterable[str]) -> Iterator[str]:
    """The lines; a start that fails ends no script, as it fails no build."""
    server = step.launch.server
    name = shlex.quote(server.name)
    yield "# warm up: what a first start compiles is kept for the next"
    yield from launch
    healthy = shlex.join(["curl", "--fail", "--silent", server.url + server.health_path])
    runs = f"docker inspect --format '{{{{.State.Running}}}}' {name} | grep -q true"
    yield f"until {healthy} >/dev/null; do {runs} || break; sleep 1; done"
    if step.ready.until == "token":
        prompt = json.dumps({"model": server.model, "prompt": "Hello", "max_tokens": 1})
        asked = shlex.join(
            [
                *("curl", "--fail", "--silent", server.url + "/v1/completions"),
                *("--header", "Content-Type: application/json", "--data", prompt),
            ]
        )
        yield f"{asked} >/dev/null || docker logs --tail 20 {name} >&2"
    yield f"docker stop {name} >/dev/null"
    yield f"docker rm {name} >/dev/null"
