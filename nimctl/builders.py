"""Observations for engines of TensorRT-LLM: the builder, its image, what the store has."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from nimctl import engines
from nimctl.core.containers import Image, ImageOffer
from nimctl.core.machine import Host
from nimctl.core.trtllm.machine import BuilderFacts, builds_in_container
from nimctl.core.trtllm.prebuilt import FoundEngine
from nimctl.core.trtllm.releases import BUILDER_IMAGE
from nimctl.core.trtllm.subject import BuildOptions
from nimctl.prebuilts import pulled_engines
from nimctl.tools import Tools


def observe(options: BuildOptions, host: Host, tools: Tools) -> BuilderFacts:
    """Look for what can build; of a machine that is only planned for, the store alone is here."""
    facts = msgspec.structs.replace(
        engines_here(tools), programs=_programs(), may_pull=not tools.offline
    )
    if host.planned:
        return facts
    installed = tools.installed_trtllm()
    image: Image | None = None
    offer: ImageOffer | None = None
    if host.container_engine and builds_in_container(options, host, installed):
        reference = options.image or BUILDER_IMAGE
        image = tools.containers.image(reference)
        if image is None and not tools.offline:
            offer = tools.registries.image_offer(reference)
    return msgspec.structs.replace(
        facts,
        image=image,
        offer=offer,
        installed=installed,
        user=tools.user(host.container_engine),
    )


def engines_here(tools: Tools, pulled: Sequence[FoundEngine] | None = None) -> BuilderFacts:
    """The engines of TensorRT-LLM on this machine, with nothing else of a build.

    Those in the store come first, the one that was used last before others, then those that were
    pulled and not taken into it yet.
    """
    found = [one for one in tools.engines.all() if one.recipe.backend == "tensorrt_llm"]
    stored = sorted(found, key=lambda one: tools.engines.last_used(one.key), reverse=True)
    keys = {one.key for one in stored}
    pulled = tuple(pulled_engines(tools)) if pulled is None else pulled
    more = {
        one.sidecar.key: one
        for one in pulled
        if one.sidecar is not None and one.sidecar.key not in keys
    }
    sidecars = (one.sidecar for one in more.values() if one.sidecar is not None)
    return BuilderFacts(engines=(*stored, *sidecars), pulled=more)


def _programs() -> str:
    return str(Path(engines.__file__).parent / "trtllm" / "programs")
