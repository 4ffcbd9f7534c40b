"""How a server of TensorRT-LLM comes by its engine."""

from collections.abc import Iterable

import msgspec

from nimctl.core.decide.prebuilt import (
    adopted_first,
    adoption,
    is_adopted,
    stored_engine,
    usable,
    where,
    words,
)
from nimctl.core.decide.target import Surroundings, Target, directory
from nimctl.core.decide.trtllm import build_step, checks, draw, strategy_note, usable_engine
from nimctl.core.engine import Engine, EngineRecipe
from nimctl.core.engine_check import stands_for
from nimctl.core.layout import engine_directory
from nimctl.core.memory import ANY_CAPACITY, CapacityWish
from nimctl.core.plan import Attach, Step
from nimctl.core.trtllm.limits import LimitsWish
from nimctl.core.trtllm.prebuilt import tokenizer_directory
from nimctl.core.trtllm.quantise import CHECKPOINT
from nimctl.core.trtllm.releases import is_built_by
from nimctl.core.trtllm.serve_options import OPTIONS_FILE
from nimctl.core.trtllm.subject import BuildOptions
from nimctl.core.value import Value


class EngineUse(Value):
    """How a server comes by what it loads.

    Paths are on the host: `engine` is the directory of an engine; without one `checkpoint` is
    served, with `options` for `--extra_llm_api_options`.
    """

    steps: tuple[Step, ...] = ()
    note: str = ""
    engine: str | None = None
    checkpoint: str | None = None
    options: str | None = None


def engine_use(
    target: Target, around: Surroundings, image: str, capacity: CapacityWish = ANY_CAPACITY
) -> EngineUse:
    """What has to be done before a server in this image can load a target's engine.

    An engine in the store that can serve is taken as it is, whatever it was tuned for; of its
    limits those count that `capacity` asks for.

    Raises:
        NimctlError: As `draw` and `checks` do.
    """
    limits = LimitsWish(max_seq_len=capacity.max_model_len, max_batch_size=capacity.max_num_seqs)
    options = BuildOptions(image=image, builder="container", limits=limits)
    drawing = draw(target, options, around)
    facts = around.building
    engine = usable_engine(drawing, facts.engines)
    if engine is None and (ready := ready_use(target, around, image, capacity)):
        # Somebody asked for that strategy: what is here is served before anything is built.
        return ready
    recipe = engine.recipe if engine else drawing.design.recipe
    laid_out = directory(target, around.layout)
    inside = laid_out / engine_directory(recipe.backend)
    # The image is the server's own, which is brought before anything else.
    build = adopted_first(engine, target, around) if engine else (build_step(drawing, around),)
    attach = Attach(
        reference=target.artifact.reference,
        directory=str(laid_out),
        recipe=recipe,
        engine=_place(engine, around),
    )
    if engine is None:
        # What stands against the build is said before the first byte.
        checks(drawing, around)
    note = f"profile {target.candidate.profile.name}: " + (
        f"its engine {engine.key[:12]} {where(engine, around)}"
        if engine
        else strategy_note(drawing, around)
    )
    if recipe.strategy != "pytorch":
        return EngineUse(steps=(*build, attach), note=note, engine=str(inside))
    outputs = [file.path for file in engine.files] if engine else drawing.design.job.outputs
    served = checkpoint_use(target, around, recipe, outputs)
    return msgspec.structs.replace(served, steps=(*build, attach), note=note)


def prebuilt_use(
    target: Target, around: Surroundings, image: str | None, capacity: CapacityWish = ANY_CAPACITY
) -> EngineUse:
    """How an engine that was built elsewhere is served; `image` is the one that was asked for.

    Raises:
        NimctlError: It is not for this machine, the image or the capacity; as `usable` says.
    """
    limits = LimitsWish(max_seq_len=capacity.max_model_len, max_batch_size=capacity.max_num_seqs)
    facts = around.building
    found = usable(target, BuildOptions(image=image, limits=limits), around.host, facts)
    laid_out = directory(target, around.layout)
    stored = stored_engine(target, facts)
    attach = Attach(
        reference=found.reference,
        directory=str(laid_out),
        recipe=found.recipe,
        engine=str(around.layout.engine(stored.key)) if stored else None,
    )
    adopted = () if stored else (adoption(target, found, around),)
    how = f"the engine {stored.key[:12]} is in the store" if stored else words(found)
    use = EngineUse(
        steps=(*adopted, attach),
        note=f"profile {target.candidate.profile.name}: strategy prebuilt: {how}",
    )
    inside = laid_out / engine_directory(found.recipe.backend)
    if found.checkpoint is not None:
        options = found.recipe.flags[OPTIONS_FILE]
        checkpoint = str(inside / found.checkpoint)
        return msgspec.structs.replace(use, checkpoint=checkpoint, options=options)
    place = tokenizer_directory(target.tokenizer or target.artifact) or "."
    return msgspec.structs.replace(use, engine=str(inside), checkpoint=str(laid_out / place))


def checkpoint_use(
    target: Target,
    around: Surroundings,
    recipe: EngineRecipe,
    outputs: Iterable[str],
) -> EngineUse:
    """How a checkpoint is served with what was built for it, once that is attached."""
    laid_out = directory(target, around.layout)
    inside = laid_out / engine_directory(recipe.backend)
    quantised = f"{CHECKPOINT}/config.json" in outputs
    return EngineUse(
        checkpoint=str(inside / CHECKPOINT if quantised else laid_out),
        options=recipe.flags[OPTIONS_FILE],
    )


def ready_use(
    target: Target, around: Surroundings, image: str, capacity: CapacityWish = ANY_CAPACITY
) -> EngineUse | None:
    """How a checkpoint is served by PyTorch with what the store has for these GPUs and this image.

    None when it has nothing.
    """
    facts = around.building
    found = (one for one in facts.engines if _suits(one, target, image, capacity))
    engine = next(found, None)
    if engine is None:
        return None
    attach = Attach(
        reference=target.artifact.reference,
        directory=str(directory(target, around.layout)),
        recipe=engine.recipe,
        engine=_place(engine, around),
    )
    said = f"what {engine.key[:12]} has {where(engine, around)}"
    note = f"profile {target.candidate.profile.name}: {said}"
    outputs = [file.path for file in engine.files]
    served = checkpoint_use(target, around, engine.recipe, outputs)
    steps = (*adopted_first(engine, target, around), attach)
    return msgspec.structs.replace(served, steps=steps, note=note)


def _place(engine: Engine | None, around: Surroundings) -> str | None:
    """The directory of an engine that is in the store already."""
    return str(around.layout.engine(engine.key)) if engine and is_adopted(engine, around) else None


def _suits(engine: Engine, target: Target, image: str, capacity: CapacityWish) -> bool:
    recipe, gpus = engine.recipe, target.candidate.gpus
    asked = {"max_seq_len": capacity.max_model_len, "max_batch_size": capacity.max_num_seqs}
    return (
        recipe.strategy == "pytorch"
        and engine.model_digest == target.artifact.digest
        and stands_for(recipe, target.candidate.profile)
        and (recipe.gpu, recipe.compute_capability)
        in [(gpu.key or gpu.name, gpu.compute_capability) for gpu in gpus[:1]]
        and all(recipe.limits[name] >= (least or 0) for name, least in asked.items())
        and is_built_by(recipe.builder, image)
    )
