"""Serving a NIM from files that nimctl brought: its profile pinned, and no key inside."""

from typing import NamedTuple

import msgspec

from nimctl.core.choice import Choice
from nimctl.core.errors import NotFoundError
from nimctl.core.machine import Host
from nimctl.core.nim_manifest import FoundManifest, ManifestSource
from nimctl.core.plan import Plan
from nimctl.core.requests import ProfilePullRequest, ServeRequest
from nimctl.manifest_lookup import find_manifest
from nimctl.profile_pull import choice_of, plan_profile_pull
from nimctl.tools import Tools


class PinnedNim(NamedTuple):
    """The profile that a NIM is to run, and the plan that fills its cache."""

    choice: Choice
    files: Plan


def pinned_nim(request: ServeRequest, image: str, host: Host, tools: Tools) -> PinnedNim | None:
    """Choose a profile from the NIM's own manifest, as the NIM would, and plan its files.

    `host` has the GPUs that the NIM will see and no others. None where there is no manifest: such
    a NIM chooses and downloads by itself.

    Raises:
        HardwareError: None of its profiles runs here.
        NotFoundError: The profile that was asked for is not in it.
        NimctlError: As `plan_profile_pull`.
    """
    found = _manifest(request, image, tools)
    if found is None:
        return None
    wanted = ProfilePullRequest(
        manifest=found.manifest,
        # `--backend nim` chose the container; inside it the manifest names engines.
        wish=msgspec.structs.replace(request.choice, backend=None),
        cache=tools.settings.nim_cache,
    )
    candidate, why = choice_of(
        wanted, host, tools, request.capacity, replicas=request.replicas != 1
    )
    inside = candidate.profile
    profile = msgspec.structs.replace(
        inside, backend="nim", gpu_count=inside.gpus_needed, build=False, source=None
    )
    entry = next(one for one in found.manifest.profiles if one.id == inside.id)
    return PinnedNim(
        Choice(msgspec.structs.replace(candidate, profile=profile), why),
        plan_profile_pull(wanted, entry, tools),
    )


def _manifest(request: ServeRequest, image: str, tools: Tools) -> FoundManifest | None:
    if request.manifest is not None:
        source = ManifestSource(kind="file", place=request.manifest)
        return find_manifest(source, tools, lambda _event: None)
    try:
        return find_manifest(ManifestSource(kind="image", place=image), tools, lambda _event: None)
    except NotFoundError:
        return None
