"""How a server of TensorRT-LLM comes by its engine."""

from nimctl.core.decide.target import Surroundings, Target, directory
from nimctl.core.decide.trtllm import build_step, checks, draw, strategy_note, usable_engine
from nimctl.core.layout import engine_directory
from nimctl.core.memory import ANY_CAPACITY, CapacityWish
from nimctl.core.plan import Attach, Step
from nimctl.core.trtllm.limits import LimitsWish
from nimctl.core.trtllm.machine import BuilderFacts
from nimctl.core.trtllm.quantise import CHECKPOINT
from nimctl.core.trtllm.serve_options import OPTIONS_FILE
from nimctl.core.trtllm.subject import BuildOptions
from nimctl.core.value import Value


class EngineUse(Value):
    """How a server comes by what it loads.

    Paths are on the host: `engine` is the directory of an engine; without one `checkpoint` is
    served, with `options` for `--extra_llm_api_options`.
    """

    steps: tuple[Step, ...]
    note: str
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
    facts = around.building or BuilderFacts()
    engine = usable_engine(drawing, facts.engines)
    recipe = engine.recipe if engine else drawing.design.recipe
    laid_out = directory(target, around.layout)
    inside = laid_out / engine_directory(recipe.backend)
    # The image is the server's own, which is brought before anything else.
    build = () if engine else (build_step(drawing, around),)
    attach = Attach(reference=target.artifact.reference, directory=str(laid_out), recipe=recipe)
    if engine is None:
        # What stands against the build is said before the first byte.
        checks(drawing, around)
    note = f"profile {target.candidate.profile.name}: " + (
        f"its engine {engine.key[:12]} is in the store" if engine else strategy_note(drawing)
    )
    if recipe.strategy != "pytorch":
        return EngineUse(steps=(*build, attach), note=note, engine=str(inside))
    quantised = any(step.phase == "quantise" for step in drawing.design.job.commands)
    return EngineUse(
        steps=(*build, attach),
        note=note,
        checkpoint=str(inside / CHECKPOINT if quantised else laid_out),
        options=drawing.design.job.extra[OPTIONS_FILE],
    )
