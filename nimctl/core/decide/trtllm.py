"""Plans that build for TensorRT-LLM: what is asked of a target, checked and spelt out."""

from collections.abc import Iterable, Iterator

import msgspec

from nimctl.core.decide.fetch import missing, prepare, size
from nimctl.core.decide.prebuilt import adopted_first, where
from nimctl.core.decide.target import Surroundings, Target, directory
from nimctl.core.engine import Engine, EngineRecipe
from nimctl.core.engine_check import build_command, check_usable, obstacles
from nimctl.core.errors import HardwareError, NotFoundError, UnsupportedModelError, UsageError
from nimctl.core.facts import Artifact
from nimctl.core.machine import Gpu, Host
from nimctl.core.plan import Build, Plan, PullImage, Step
from nimctl.core.profile import Candidate, Profile
from nimctl.core.trtllm.design import Design, Workshop, design
from nimctl.core.trtllm.machine import image_to_pull, workshop
from nimctl.core.trtllm.prebuilt import is_prebuilt
from nimctl.core.trtllm.preflight import Surveyed, preflight
from nimctl.core.trtllm.releases import release
from nimctl.core.trtllm.subject import BuildOptions, Subject, form_of
from nimctl.core.value import Value


def divided(target: Target, options: BuildOptions) -> Profile:
    """The target's profile, with the parallelism that was asked for.

    Raises:
        UsageError: The model cannot be divided so.
    """
    profile, architecture = target.candidate.profile, target.architecture
    tp, pp = options.tp or profile.tp, options.pp or profile.pp
    if architecture is not None and architecture.heads % tp:
        raise UsageError(
            f"{target.model} cannot be divided over {tp} GPUs with --tp",
            cause=f"its {architecture.heads} attention heads are not a multiple of that",
        )
    if architecture is not None and architecture.layers % pp:
        raise UsageError(
            f"{target.model} cannot be divided over {pp} GPUs with --pp",
            cause=f"its {architecture.layers} layers are not a multiple of that",
        )
    return msgspec.structs.replace(profile, tp=tp, pp=pp)


def for_engine(
    candidates: Iterable[Candidate], options: BuildOptions, *, has_calibration: bool
) -> Candidate | None:
    """The candidate to build for: the first whose engine needs nothing that is not there.

    A checkpoint that comes quantised can be built from too; texts are for those that do not.
    None when there is nothing to build.
    """
    everything = list(candidates)
    buildable = [one for one in everything if _is_buildable(one.profile)]
    if ready := _ready(everything, options, has_calibration or bool(options.settings), buildable):
        return ready
    if options.strategy == "pytorch":
        first = [one for one in buildable if one.profile.runtime == "pytorch"]
    else:
        first = [one for one in buildable if one.profile.needs_texts is has_calibration]
    chosen = next(iter((*first, *buildable)), None)
    if chosen is None or options.strategy == "pytorch":
        return chosen
    as_engine = msgspec.structs.replace(chosen.profile, runtime=None, build=True)
    return msgspec.structs.replace(chosen, profile=as_engine)


def _ready(
    candidates: Iterable[Candidate],
    options: BuildOptions,
    asks_for_build: bool,  # noqa: FBT001 - as computed by the caller
    buildable: Iterable[Candidate],
) -> Candidate | None:
    """A candidate whose files are an engine already, unless a build is meant."""
    ready = [one for one in candidates if is_prebuilt(one.profile)]
    if not ready or (asks_for_build and buildable):
        return None
    running = next((one for one in ready if one.runs), None)
    if options.strategy == "prebuilt":
        cached = any(one.cached for one in buildable)
        return running or (None if cached else ready[0])
    if options.strategy is None and running is not None:
        return running
    return None if buildable else ready[0]


def _is_buildable(profile: Profile) -> bool:
    return profile.build or (profile.backend == "tensorrt_llm" and profile.runtime == "pytorch")


class Drawing(Value):
    """A target's engine, designed for the GPUs that the target was judged for.

    `key` is None while the checkpoint's digest is unknown; `there` is the engine itself, when the
    store has it.
    """

    target: Target
    options: BuildOptions
    shop: Workshop
    subject: Subject
    design: Design
    key: str | None
    there: Engine | None


def draw(target: Target, options: BuildOptions, around: Surroundings) -> Drawing:
    """Design the engine of a target.

    Raises:
        HardwareError: The profile does not run on this machine.
        UnsupportedModelError: Nothing is known of the model's architecture, or nothing builds it.
        UsageError: An option asks for what cannot be.
        NotFoundError: An installation was asked for that is not there.
    """
    facts = around.building
    gpus = _gpus_of(target)
    shop, version = workshop(options, around.host, facts, gpus)
    subject = _subject(target, around.host, version)
    made = design(subject, options, shop)
    digest = target.artifact.digest
    key = made.recipe.key(digest) if digest else None
    return Drawing(
        target=target,
        options=options,
        shop=shop,
        subject=subject,
        design=made,
        key=key,
        there=next((one for one in facts.engines if one.key == key), None),
    )


def plan_trtllm(target: Target, options: BuildOptions, around: Surroundings) -> Plan:
    """Fetch, lay out, build; or only find what is there.

    Raises:
        NimctlError: As `draw` and `checks` do.
    """
    drawing = draw(target, options, around)
    facts = around.building
    if options.strategy == "prebuilt" and drawing.there is None:
        return _prebuilt(drawing, around, facts.engines)
    notes = [strategy_note(drawing, around)]
    if drawing.there is None:
        notes += checks(drawing, around)
    had = (*adopted_first(drawing.there, target, around), *build_steps(drawing, around))
    return Plan(steps=(*prepare(target, around), *had), notes=tuple(notes))


def build_steps(drawing: Drawing, around: Surroundings) -> Iterator[Step]:
    """Bring the builder's image where it is needed, then build.

    Raises:
        HardwareError: The image is for other processors.
        NotFoundError: It is not there, and may not be pulled.
    """
    if drawing.there is None and drawing.design.job.commands:
        facts, engine = around.building, around.host.container_engine
        image = image_to_pull(drawing.shop, around.host, facts)
        if image and engine:
            yield PullImage(image=image, platform=f"linux/{engine.architecture}")
    yield build_step(drawing, around)


def build_step(drawing: Drawing, around: Surroundings) -> Build:
    """The step that has the engine in the store."""
    return Build(
        reference=drawing.target.artifact.reference,
        directory=str(directory(drawing.target, around.layout)),
        recipe=drawing.design.recipe,
        key=drawing.key,
        job=drawing.design.job,
    )


def checks(drawing: Drawing, around: Surroundings) -> tuple[str, ...]:
    """Refuse a build that cannot succeed; otherwise what is worth knowing.

    Raises:
        NimctlError: As `preflight` does.
    """
    facts = around.building
    surveyed = Surveyed(
        host=around.host,
        release=release(drawing.subject.version),
        home=around.layout.home,
        pending_bytes=size(missing(drawing.target.artifact, around.inventory)),
        builder=drawing.shop.image,
        image=facts.image,
        offer=facts.offer,
    )
    return preflight(drawing.subject, drawing.options, drawing.design.job.commands, surveyed)


def usable_engine(drawing: Drawing, engines: Iterable[Engine]) -> Engine | None:
    """An engine in the store that can serve: the one that was designed, or one like it."""
    needed = needed_of(drawing)
    fitting = (
        one
        for one in engines
        if _is_of(one, drawing.target.artifact) and not obstacles(needed, one.recipe)
    )
    return drawing.there or next(fitting, None)


def needed_of(drawing: Drawing) -> EngineRecipe:
    """What an engine has to be: of limits and KV cache only what was asked for."""
    options = drawing.options
    return msgspec.structs.replace(
        drawing.design.recipe, limits=options.limits.asked, kv_cache=options.kv_cache
    )


def _prebuilt(drawing: Drawing, around: Surroundings, engines: tuple[Engine, ...]) -> Plan:
    artifact = drawing.target.artifact
    own = [one for one in engines if _is_of(one, artifact)]
    engine = usable_engine(drawing, own)
    if engine is None:
        needed, model = needed_of(drawing), str(drawing.target.ref)
        takes_texts = any(one.phase == "quantise" for one in drawing.design.job.commands)
        command = build_command(needed, model, image=drawing.options.image, takes_texts=takes_texts)
        for other in own:
            check_usable(needed, other, model, artifact.digest, command=command)
        raise NotFoundError(
            f"there is no engine of {drawing.target.model} in the store",
            cause="--strategy prebuilt builds none",
            hint="nimctl pull or nimctl engines import one, or leave --strategy out",
        )
    step = Build(
        reference=artifact.reference,
        directory=str(directory(drawing.target, around.layout)),
        recipe=engine.recipe,
        key=engine.key,
        job=msgspec.structs.replace(drawing.design.job, commands=()),
    )
    note = f"strategy prebuilt: the engine {engine.key[:12]} was built {engine.created[:10]}"
    first = adopted_first(engine, drawing.target, around)
    steps: tuple[Step, ...] = (*prepare(drawing.target, around), *first, step)
    return Plan(steps=steps, notes=(note,))


def _is_of(engine: Engine, artifact: Artifact) -> bool:
    """Whether an engine was built of these files; before they are fetched, the name has to do."""
    if artifact.digest is None:
        return engine.reference == artifact.reference
    return engine.model_digest == artifact.digest


def strategy_note(drawing: Drawing, around: Surroundings) -> str:
    """By which strategy the engine is had, and why."""
    if drawing.there is not None:
        return (
            f"strategy prebuilt: the engine {drawing.there.key[:12]} {where(drawing.there, around)}"
        )
    choice = drawing.design.choice
    against = f" (no engine: {'; '.join(choice.against)})" if choice.against else ""
    builder = drawing.shop.image or f"{drawing.shop.builder} on this machine"
    return f"strategy {choice.strategy}: {choice.reason}{against}; built by {builder}"


def _gpus_of(target: Target) -> tuple[Gpu, ...]:
    candidate = target.candidate
    if not candidate.runs or not candidate.gpus:
        raise HardwareError(
            f"profile {candidate.profile.name} of {target.model} does not run on this machine",
            cause="; ".join(candidate.reasons),
            hint=f"nimctl list-profiles {target.ref}",
        )
    return candidate.gpus


def _subject(target: Target, host: Host, version: str) -> Subject:
    if target.architecture is None:
        raise UnsupportedModelError(
            f"nothing is known of the architecture of {target.model}",
            cause="how large an engine may be follows from it",
            hint=f"nimctl list-profiles {target.ref}",
        )
    gpus = _gpus_of(target)
    return Subject(
        model=target.model,
        profile=target.candidate.profile,
        architecture=target.architecture,
        form=form_of(target.artifact),
        gpus=gpus,
        memory_bytes=min(gpu.memory_total_bytes or host.memory_total_bytes for gpu in gpus),
        version=version,
    )
