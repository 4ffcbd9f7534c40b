"""Plans that build an engine."""

import msgspec

from nimctl.core.checkpoint import CONVERTIBLE
from nimctl.core.decide.fetch import check_room, prepare
from nimctl.core.decide.prebuilt import plan_prebuilt
from nimctl.core.decide.target import Surroundings, Target, directory, recipe_for
from nimctl.core.decide.trtllm import plan_trtllm
from nimctl.core.decide.warm_up import warmed
from nimctl.core.errors import NimctlError, NotFoundError, UnsupportedModelError, UsageError
from nimctl.core.machine import Host
from nimctl.core.plan import Attach, Build, Plan, Step
from nimctl.core.trtllm.families import FAMILIES
from nimctl.core.trtllm.subject import NO_OPTIONS, BuildOptions


def plan_build(target: Target, around: Surroundings, options: BuildOptions = NO_OPTIONS) -> Plan:
    """Fetch, lay out, build.

    Raises:
        UsageError: The profile is served as it comes; there is nothing to build.
        NimctlError: The build cannot succeed, as the checks before it say.
    """
    profile = target.candidate.profile
    if target.prebuilt is not None:
        return plan_prebuilt(target, options, around)
    if options.built_for is not None:
        raise UsageError(
            "--built-for is for engines that were built elsewhere",
            cause=f"{target.artifact.reference} has none",
            hint="leave it out",
        )
    if profile.backend == "tensorrt_llm" and (profile.build or profile.runtime == "pytorch"):
        plan = plan_trtllm(target, options, around)
        return warmed(plan, target, around) if options.warm_up else plan
    if options != NO_OPTIONS and options.strategy != "llama_cpp":
        raise UsageError(
            f"profile {profile.name} takes no options of an engine's build",
            cause="they are for engines of TensorRT-LLM",
            hint="nimctl list-profiles shows which profiles there are; --backend tensorrt_llm",
        )
    if not profile.build:
        raise _nothing_to_build(target)
    check_runtime(around.host)
    check_room(target, around)
    return Plan(steps=(*prepare(target, around), build_step(target, around)))


def _nothing_to_build(target: Target) -> NimctlError:
    profile = target.candidate.profile
    name = target.architecture.class_name if target.architecture else None
    if profile.backend == "llama_cpp":
        return UsageError(
            f"profile {profile.name} needs no build",
            cause="its files are an engine already",
            hint=f"nimctl serve {target.ref}",
        )
    known = dict.fromkeys((*CONVERTIBLE, *(one for family in FAMILIES for one in family.classes)))
    if name in known:
        return UnsupportedModelError(
            f"no engine of {target.model} can be built for this machine",
            cause=f"of its profiles none that is built runs here; {profile.name} needs no build",
            hint=f"nimctl list-profiles {target.ref} --all",
        )
    return UnsupportedModelError(
        f"no engine can be built of {target.model}" + (f", a {name}" if name else ""),
        cause="engines are built of " + ", ".join(known),
        hint=f"nimctl serve {target.ref} --backend {profile.backend}, or a GGUF file of it",
    )


def build_step(target: Target, around: Surroundings) -> Build:
    """The step that has the engine in the store."""
    recipe = recipe_for(target.candidate.profile, around.builder)
    digest = target.artifact.digest
    return Build(
        reference=target.artifact.reference,
        directory=str(directory(target, around.layout)),
        recipe=recipe,
        key=recipe.key(digest) if digest else None,
    )


def engine_steps(target: Target, around: Surroundings) -> tuple[tuple[Step, ...], str]:
    """What is needed for the engine, and a note on it."""
    profile = target.candidate.profile
    if not profile.build:
        return (), f"profile {profile.name}: its files are served as they are"
    build = build_step(target, around)
    attach = Attach(reference=build.reference, directory=build.directory, recipe=build.recipe)
    if build.key in around.inventory.engines:
        engine = str(around.layout.engine(build.key))
        attach = msgspec.structs.replace(attach, engine=engine)
        return (attach,), f"profile {profile.name}: its engine is in the store"
    return (build, attach), f"profile {profile.name}: its engine is built on this machine"


def check_runtime(host: Host) -> None:
    """Refuse a machine without the embedded engine.

    Raises:
        NotFoundError: It, or a library that it needs, is not installed.
    """
    if host.embedded.version is None:
        raise NotFoundError(
            "the embedded engine xllamacpp is not installed",
            cause="nimctl was installed without the extra `cpu`",
            hint="pip install 'nimctl[cpu]'",
        )
    if not host.embedded.libgomp:
        raise NotFoundError(
            "the embedded engine cannot be loaded: libgomp.so.1 is missing",
            cause="xllamacpp's wheel does not carry the OpenMP runtime",
            hint="apt-get install libgomp1 (or dnf install libgomp)",
        )
