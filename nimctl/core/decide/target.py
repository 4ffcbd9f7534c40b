"""What a plan is made for, and what surrounds it."""

from pathlib import Path

from nimctl.core.architecture import Architecture
from nimctl.core.catalogue import Family, Nim
from nimctl.core.containers import Image, ImageOffer
from nimctl.core.engine import EngineRecipe
from nimctl.core.facts import Artifact, Inventory
from nimctl.core.layout import Layout
from nimctl.core.lora import AdapterFacts
from nimctl.core.machine import Host
from nimctl.core.memory import weights_bytes
from nimctl.core.plan import Step
from nimctl.core.profile import Candidate, Profile
from nimctl.core.refs import ModelRef
from nimctl.core.trtllm.machine import BuilderFacts
from nimctl.core.trtllm.prebuilt import FoundEngine
from nimctl.core.value import Value


class Target(Value):
    """A model, the profile chosen for it, why it was, and the files that this needs.

    A profile whose container brings its own files has an artifact without any; `bring` are steps
    that fill its cache from outside. `prebuilt` is the engine that the artifact holds, `tokenizer`
    the artifact with its tokenizer, where it is to be served.
    """

    ref: ModelRef
    model: str
    architecture: Architecture | None
    candidate: Candidate
    why: str = ""
    artifact: Artifact
    family: Family = "llm"
    nim: Nim | None = None
    bring: tuple[Step, ...] = ()
    prebuilt: FoundEngine | None = None
    tokenizer: Artifact | None = None


class Surroundings(Value):
    """What else a plan depends on: the machine, the store, and the port that can be had.

    `image` is the one to be run, None when the engine does not have it; then
    `offer` is what its registry has, if that could be asked. `user` is UID:GID of who
    runs nimctl. `adapters` were read for the request. `has_registry_key` tells whether NGC's key
    is there. `replica_ports` can be had on loopback, as many as there could be replicas; `haproxy`
    is the program, None where it is not installed. `has_router_image` tells that the
    engine has what stands in for it. `idle_gpus` says why the machine's GPUs cannot be used.
    `building` is what was observed for an engine of TensorRT-LLM; nothing where none is to be had.
    """

    host: Host
    layout: Layout
    inventory: Inventory
    builder: str
    python: str
    port: int = 0
    running: dict[str, str] = {}
    image: Image | None = None
    offer: ImageOffer | None = None
    user: str = "1000:1000"
    nim_cache: str = ""
    has_registry_key: bool = False
    adapters: tuple[AdapterFacts, ...] = ()
    replica_ports: tuple[int, ...] = ()
    haproxy: str | None = None
    has_router_image: bool = False
    idle_gpus: str | None = None
    building: BuilderFacts = BuilderFacts()


def recipe_for(profile: Profile, builder: str) -> EngineRecipe:
    """What a profile's engine is built by."""
    return EngineRecipe(
        backend=profile.backend,
        precision=profile.precision or "auto",
        builder=builder,
        tp=profile.tp,
        pp=profile.pp,
    )


def directory(target: Target, layout: Layout) -> Path:
    """The directory that a server of this model and profile reads."""
    return layout.model(target.ref.directory_name, target.candidate.profile.name)


def weights(target: Target) -> int | None:
    """Bytes of the weights as they are served; None when nothing tells."""
    known = None
    if target.architecture:
        known = weights_bytes(target.architecture, target.candidate.profile.precision)
    return known or target.artifact.size
