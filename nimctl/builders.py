"""Observations for engines of TensorRT-LLM: the builder, its image, what the store has."""

from pathlib import Path

from nimctl import engines
from nimctl.core.containers import Image, ImageOffer
from nimctl.core.engine import Engine
from nimctl.core.machine import Host
from nimctl.core.trtllm.machine import BuilderFacts, builds_in_container
from nimctl.core.trtllm.releases import BUILDER_IMAGE
from nimctl.core.trtllm.subject import BuildOptions
from nimctl.tools import Tools


def observe(options: BuildOptions, host: Host, tools: Tools) -> BuilderFacts:
    """Look for what can build; a machine that is only planned for is not asked."""
    if host.planned:
        return BuilderFacts(programs=_programs(), may_pull=not tools.offline)
    installed = tools.installed_trtllm()
    image: Image | None = None
    offer: ImageOffer | None = None
    if host.container_engine and builds_in_container(options, host, installed):
        reference = options.image or BUILDER_IMAGE
        image = tools.containers.image(reference)
        if image is None and not tools.offline:
            offer = tools.registries.image_offer(reference)
    return BuilderFacts(
        image=image,
        offer=offer,
        installed=installed,
        user=tools.user(host.container_engine),
        programs=_programs(),
        engines=trtllm_engines(tools),
        may_pull=not tools.offline,
    )


def trtllm_engines(tools: Tools) -> tuple[Engine, ...]:
    """The engines of TensorRT-LLM in the store, the one that was used last first."""
    found = [one for one in tools.engines.all() if one.recipe.backend == "tensorrt_llm"]
    return tuple(sorted(found, key=lambda one: tools.engines.last_used(one.key), reverse=True))


def _programs() -> str:
    return str(Path(engines.__file__).parent / "trtllm" / "programs")
