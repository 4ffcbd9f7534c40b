"""Serving a NIM from files that nimctl brought: its profile pinned, and no key inside."""

from typing import NamedTuple

import msgspec

from nimctl.core.errors import NotFoundError
from nimctl.core.nim_manifest import FoundManifest, ManifestSource
from nimctl.core.nim_profiles import profile_of
from nimctl.core.plan import Plan
from nimctl.core.profile import Profile
from nimctl.core.requests import ProfilePullRequest, ServeRequest
from nimctl.manifest_lookup import find_manifest
from nimctl.profile_pull import chosen_profile, plan_profile_pull
from nimctl.tools import Tools


class PinnedNim(NamedTuple):
    """The profile that a NIM is to run, and the plan that fills its cache."""

    profile: Profile
    files: Plan


def pinned_nim(request: ServeRequest, image: str, tools: Tools) -> PinnedNim | None:
    """Choose a profile from the NIM's own manifest, as the NIM would, and plan its files.

    None where there is no manifest: such a NIM chooses and downloads by itself.

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
    entry = chosen_profile(wanted, tools)
    inside = profile_of(entry)
    profile = msgspec.structs.replace(
        inside, backend="nim", gpu_count=inside.gpus_needed, build=False, source=None
    )
    return PinnedNim(profile, plan_profile_pull(wanted, entry, tools))


def _manifest(request: ServeRequest, image: str, tools: Tools) -> FoundManifest | None:
    if request.manifest is not None:
        source = ManifestSource(kind="file", place=request.manifest)
        return find_manifest(source, tools, lambda _event: None)
    try:
        return find_manifest(ManifestSource(kind="image", place=image), tools, lambda _event: None)
    except NotFoundError:
        return None
