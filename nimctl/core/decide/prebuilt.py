"""Engines that were built elsewhere and are taken as they are: checked, fetched, adopted."""

from collections.abc import Mapping

import msgspec

from nimctl.core.decide.fetch import check_room, fetch_step, missing
from nimctl.core.decide.target import Surroundings, Target, directory
from nimctl.core.engine import Engine, EngineRecipe
from nimctl.core.engine_check import MismatchError, build_command, obstacles
from nimctl.core.errors import HardwareError, UsageError
from nimctl.core.machine import Gpu, Host
from nimctl.core.plan import Adopt, Plan, Step
from nimctl.core.trtllm.machine import BuilderFacts
from nimctl.core.trtllm.prebuilt import FoundEngine, built_for
from nimctl.core.trtllm.releases import (
    builder_name,
    is_built_by,
    release,
    release_image,
    version_of_image,
)
from nimctl.core.trtllm.subject import BuildOptions


def plan_prebuilt(target: Target, options: BuildOptions, around: Surroundings) -> Plan:
    """Fetch an engine and take it into the store.

    Raises:
        UsageError: A build was asked for, or nothing tells which GPU the engine is for.
        HardwareError: It is not for this machine; of its fields the one that decides is named.
        DiskFullError: It does not fit.
    """
    _check_options(target, options)
    facts = around.building
    found = usable(target, options, around.host, facts)
    stored = stored_engine(target, facts)
    if stored is not None:
        note = f"strategy prebuilt: the engine {stored.key[:12]} is in the store"
        return Plan(steps=(adoption(target, found, around),), notes=(note,))
    check_room(target, around)
    steps: list[Step] = [adoption(target, found, around)]
    if missing(target.artifact, around.inventory) or not around.inventory.pinned:
        source = target.artifact.reference
        steps.insert(0, fetch_step(source, target.artifact, around.inventory))
    return Plan(steps=tuple(steps), notes=(f"strategy prebuilt: {words(found)}",))


def usable(target: Target, options: BuildOptions, host: Host, facts: BuilderFacts) -> FoundEngine:
    """The engine of a target, when it is for this machine and as it was asked for.

    Raises:
        UsageError: Nothing tells which GPU it is for, or a GPU was stated that it is not for.
        HardwareError: It is not for this machine; of its fields the one that decides is named.
    """
    found = _known(target, options, facts)
    gpu = _gpu_for(found, target, host)
    if found.recipe.gpu is None and found.recipe.compute_capability is None:
        raise UsageError(
            f"the engine in {found.reference} does not say for which GPU it was built",
            cause="it has no sidecar of nimctl's, no tags of a NIM manifest and no GPU on NGC, and"
            " TensorRT-LLM's config.json names no GPU",
            hint=f"nimctl build-engine '{target.ref}' --built-for {gpu.key or 'GPU'}, if that is"
            " what it was built for; nimctl remembers it",
        )
    needed = _needed(found.recipe, gpu, options)
    differing = obstacles(needed, found.recipe)
    if differing:
        count = len(differing)
        more = f"; it differs in {count} fields, this one decides" if count > 1 else ""
        raise MismatchError(
            f"the engine in {found.reference} is not for this: {differing[0].words}",
            cause=f"it was built by {found.recipe.builder}{more}",
            hint=_mend(target, found, needed),
        )
    if not target.candidate.runs:
        raise _does_not_run(target)
    return found


def stored_engine(target: Target, facts: BuilderFacts) -> Engine | None:
    """What the store has of a target's engine already."""
    found = target.prebuilt
    stored = (one for one in facts.engines if one.key not in facts.pulled)
    return next((one for one in stored if found and _is(one, found, target)), None)


def adoption(target: Target, found: FoundEngine, around: Surroundings) -> Adopt:
    """The step that takes the engine of a target's files into the store."""
    digest = target.artifact.digest
    stored = stored_engine(target, around.building)
    own = found.sidecar.key if found.sidecar else found.recipe.key(digest) if digest else None
    blobs = around.inventory.blobs
    digests = {one.path: one.sha256 for one in target.artifact.files if one.sha256 in blobs}
    return _adopt(found, stored.key if stored else own, digests, target, around)


def is_adopted(engine: Engine | None, around: Surroundings) -> bool:
    """Whether an engine is in the store of engines, and not only among pulled files."""
    facts = around.building
    return engine is not None and engine.key not in facts.pulled


def adopted_first(engine: Engine | None, target: Target, around: Surroundings) -> tuple[Adopt, ...]:
    """What has to be done before an engine of this machine can be attached."""
    facts = around.building
    found = facts.pulled.get(engine.key) if engine else None
    if engine is None or found is None:
        return ()
    digests = {found.files[file.path]: file.sha256 for file in engine.files}
    return (_adopt(found, engine.key, digests, target, around),)


def where(engine: Engine, around: Surroundings) -> str:
    """Where an engine of this machine is, in words."""
    found = around.building.pulled.get(engine.key)
    return f"was pulled with {found.reference}" if found else "is in the store"


def _adopt(
    found: FoundEngine,
    key: str | None,
    digests: Mapping[str, str | None],
    target: Target,
    around: Surroundings,
) -> Adopt:
    """`digests` are those of files in the artifact that the store has."""
    return Adopt(
        reference=found.reference,
        files=found.files,
        recipe=found.recipe,
        key=key,
        sidecar=found.sidecar,
        directory=str(directory(target, around.layout)),
        links={
            path: str(around.layout.blob(sha256))
            for path in found.files.values()
            if (sha256 := digests.get(path))
        },
    )


def image_of_engine(found: FoundEngine) -> str:
    """The image that serves an engine: that of the release which built it.

    Raises:
        UsageError: The engine was built by something that is no release.
    """
    image = release_image(found.recipe.builder)
    if image is None:
        raise UsageError(
            f"no image is known that serves the engine in {found.reference}",
            cause=f"it was built by {found.recipe.builder}, which is no release; only the same"
            " build loads it",
            hint="--image with that version as its tag; a NIM's engine is served by its own"
            " container: --backend nim",
        )
    return image


def words(found: FoundEngine) -> str:
    """An engine in words."""
    recipe = found.recipe
    parallel = f"tp{recipe.tp}" + (f" pp{recipe.pp}" if recipe.pp > 1 else "")
    gpu = recipe.gpu or f"compute capability {recipe.compute_capability}"
    what = "a bundle for PyTorch" if recipe.strategy == "pytorch" else "an engine"
    return (
        f"{found.reference} has {what} for {gpu}, {recipe.precision} {parallel}, built by"
        f" {recipe.builder}"
    )


def _known(target: Target, options: BuildOptions, facts: BuilderFacts) -> FoundEngine:
    """The engine with what is known of its GPU: from its files, the store, or the user."""
    found = target.prebuilt
    assert found is not None  # noqa: S101 - a target that has none is not asked
    stored = stored_engine(target, facts)
    if stored is not None:
        found = msgspec.structs.replace(found, recipe=stored.recipe)
    said, is_ = options.built_for, found.recipe.gpu
    if said is None:
        return found
    if is_ not in (None, said):
        raise UsageError(
            f"the engine in {found.reference} was built for {is_}, not for {said}",
            cause="its sidecar, the tags that it came with, or NGC say so",
            hint="leave --built-for out",
        )
    return built_for(found, said)


def _is(engine: Engine, found: FoundEngine, target: Target) -> bool:
    if found.sidecar is not None:
        return engine.key == found.sidecar.key
    digest = target.artifact.digest
    return digest is not None and engine.model_digest == digest


def _gpu_for(found: FoundEngine, target: Target, host: Host) -> Gpu:
    """The GPU that the engine would run on; of those that it does not run on, the likest."""
    if not host.gpus:
        raise _does_not_run(target)
    alike = (gpu for gpu in host.gpus if gpu.key == found.recipe.gpu)
    return next(iter((*target.candidate.gpus, *alike, *host.gpus)))


def _does_not_run(target: Target) -> HardwareError:
    candidate = target.candidate
    return HardwareError(
        f"profile {candidate.profile.name} of {target.model} does not run on this machine",
        cause="; ".join(candidate.reasons),
        hint=f"nimctl list-profiles '{target.ref}'",
    )


def _needed(recipe: EngineRecipe, gpu: Gpu, options: BuildOptions) -> EngineRecipe:
    """What the engine has to be: what it is itself, for this GPU, image and wish."""
    builder, tensorrt = recipe.builder, recipe.tensorrt_version
    if options.image is not None and not is_built_by(builder, options.image):
        builder = builder_name(options.image)
        tensorrt = release(version_of_image(options.image)).tensorrt
    return msgspec.structs.replace(
        recipe,
        builder=builder,
        tensorrt_version=tensorrt,
        tp=options.tp or recipe.tp,
        pp=options.pp or recipe.pp,
        kv_cache=options.kv_cache,
        limits=options.limits.asked,
        compute_capability=gpu.compute_capability,
        gpu=(gpu.key or gpu.name) if recipe.gpu else None,
    )


def _mend(target: Target, found: FoundEngine, needed: EngineRecipe) -> str:
    if needed.builder != found.recipe.builder:
        image = release_image(found.recipe.builder)
        return f"leave --image out, or --image {image}" if image else "leave --image out"
    if target.ref.scheme == "catalogue":
        return build_command(needed, str(target.ref))
    if found.sidecar is not None:
        return build_command(needed, found.sidecar.reference)
    return build_command(needed, "MODEL") + " builds one of the model's checkpoint"


def _check_options(target: Target, options: BuildOptions) -> None:
    if options.strategy not in (None, "prebuilt"):
        raise UsageError(
            f"the strategy {options.strategy} cannot give an engine of {target.model}",
            cause="the files are an engine already",
            hint="leave --strategy out, or name the model's checkpoint instead",
        )
    if options.settings or options.calibration:
        what = "--set" if options.settings else "--calib"
        raise UsageError(
            f"{what} is for engines that are built here",
            cause=f"{target.artifact.reference} has an engine already",
            hint=f"leave {what} out",
        )
