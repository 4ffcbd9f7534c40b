"""Where a NIM manifest is: a file, a running NIM, or an image."""

import sys

from nimctl.core.errors import OfflineError
from nimctl.core.events import Emit
from nimctl.core.nim_manifest import FoundManifest, ManifestSource
from nimctl.manifests import sources
from nimctl.tools import Tools


def find_manifest(
    source: ManifestSource, tools: Tools, emit: Emit, *, pull_image: bool = False
) -> FoundManifest:
    """Read a NIM manifest from wherever it is; `pull_image` allows to fetch an image for it."""
    if source.kind == "file":
        return sources.read_file(source, sys.stdin.buffer)
    if source.kind == "endpoint":
        if tools.offline:
            raise OfflineError(f"{source.place} is not asked", cause="--offline is given")
        return sources.read_endpoint(source, tools.registries.http)
    image, containers = source.place, tools.containers
    if pull_image and not tools.offline and containers.image(image) is None:
        containers.pull(image, emit, login=tools.registries.image_login(image))
    return sources.read_image(source, containers)
