"""From what is wanted to what is done: strategy, recipe and job of one engine."""

import msgspec

from nimctl.core.containers import Devices
from nimctl.core.engine import EngineRecipe
from nimctl.core.errors import UsageError
from nimctl.core.fit.precision import runs_on
from nimctl.core.memory import GpuShare
from nimctl.core.trtllm import quantise
from nimctl.core.trtllm.job import BESIDE, INSIDE, EngineJob, expected_outputs
from nimctl.core.trtllm.limits import EngineLimits, limits_for
from nimctl.core.trtllm.pipeline import Command, Places, commands, pipeline
from nimctl.core.trtllm.releases import release
from nimctl.core.trtllm.serve_options import OPTIONS_FILE, as_text, options_for
from nimctl.core.trtllm.strategy import Choice, choose
from nimctl.core.trtllm.subject import BuildOptions, KvCache, Subject
from nimctl.core.trtllm.tuning import kv_cache_of
from nimctl.core.value import Value


class Workshop(Value):
    """Where an engine would be built.

    `builder` is what the engine key says of it; without `image` the commands run on this machine.
    `programs` is the directory with nimctl's own scripts, `examples` TensorRT-LLM's.
    """

    builder: str
    image: str | None = None
    devices: Devices | None = None
    user: str | None = None
    programs: str = ""
    examples: str = INSIDE.examples


class Design(Value):
    """An engine as it is built: how, what it depends on, and the work."""

    choice: Choice
    recipe: EngineRecipe
    job: EngineJob


def design(subject: Subject, options: BuildOptions, shop: Workshop) -> Design:
    """Choose strategy and commands.

    Raises:
        UsageError: An option is refused by the builder, or asks for what cannot be.
        UnsupportedModelError: No strategy fits.
        HardwareError: The engine would not fit the GPUs.
    """
    choice = _choose(subject, options)
    kv_cache = kv_cache_of(subject, options.kv_cache)
    limits = _limits(subject, options, kv_cache)
    if choice.strategy == "pytorch":
        job, flags = _checkpoint(subject, options, shop, limits, kv_cache)
    else:
        job, flags = _engine(subject, options, shop, limits)
    recipe = EngineRecipe(
        backend=subject.profile.backend,
        strategy=choice.strategy,
        precision=subject.profile.precision or "",
        builder=shop.builder,
        tp=subject.profile.tp,
        pp=subject.profile.pp,
        kv_cache=kv_cache,
        limits=msgspec.structs.asdict(limits),
        flags=flags,
        calibration=options.calibration.sha256 if options.calibration and job.calibration else None,
        tensorrt_version=release(subject.version).tensorrt,
        compute_capability=subject.gpus[0].compute_capability,
        gpu=subject.gpus[0].key or subject.gpus[0].name,
    )
    return Design(choice=choice, recipe=recipe, job=job)


def _choose(subject: Subject, options: BuildOptions) -> Choice:
    capability = subject.gpus[0].capability
    as_engine = msgspec.structs.replace(subject.profile, runtime=None)
    as_checkpoint = msgspec.structs.replace(subject.profile, runtime="pytorch")
    return choose(
        subject,
        options.strategy,
        engine_runs=runs_on(as_engine, capability),
        checkpoint_runs=runs_on(as_checkpoint, capability),
    )


def _limits(subject: Subject, options: BuildOptions, kv_cache: KvCache) -> EngineLimits:
    profile = subject.profile
    share = GpuShare(
        backend=profile.backend,
        precision=profile.precision,
        tp=profile.tp,
        pp=profile.pp,
        kv_cache=kv_cache,
    )
    return limits_for(
        options.limits, subject.architecture, share, subject.memory_bytes, profile.target
    )


def _engine(
    subject: Subject, options: BuildOptions, shop: Workshop, limits: EngineLimits
) -> tuple[EngineJob, dict[str, str]]:
    made = pipeline(subject, limits, options)
    job = _job(
        subject,
        options,
        shop,
        steps=commands(made, _places(shop)),
        outputs=expected_outputs(subject.world_size),
    )
    return job, made.flags


def _checkpoint(
    subject: Subject,
    options: BuildOptions,
    shop: Workshop,
    limits: EngineLimits,
    kv_cache: KvCache,
) -> tuple[EngineJob, dict[str, str]]:
    if options.settings:
        raise UsageError(
            "--set is for the commands that build engines",
            cause="this is served by the PyTorch backend, which has an options file",
            hint="leave --set out",
        )
    if kv_cache == "int8":
        raise UsageError(
            "the PyTorch backend has no int8 KV cache", hint="--kv-cache-dtype fp8, or auto"
        )
    served = as_text(options_for(subject, limits, kv_cache))
    steps: tuple[Command, ...] = ()
    outputs: tuple[str, ...] = (OPTIONS_FILE,)
    if quantise.is_needed(subject):
        steps = (quantise.command(subject, options, kv_cache, _places(shop)),)
        outputs = (f"{quantise.CHECKPOINT}/config.json", OPTIONS_FILE)
    job = _job(subject, options, shop, steps=steps, outputs=outputs)
    extra = {OPTIONS_FILE: served}
    programs = shop.programs if steps else None
    return msgspec.structs.replace(job, programs=programs, extra=extra), extra


def _job(
    subject: Subject,
    options: BuildOptions,
    shop: Workshop,
    *,
    steps: tuple[Command, ...],
    outputs: tuple[str, ...],
) -> EngineJob:
    measures = any(step.phase == "quantise" for step in steps)
    calibration = options.calibration if measures else None
    visible = ",".join(gpu.uuid for gpu in subject.gpus)
    return EngineJob(
        model=subject.model,
        commands=steps,
        outputs=outputs,
        image=shop.image,
        devices=shop.devices,
        user=shop.user,
        calibration=calibration.path if calibration else None,
        environment={} if shop.image else {"CUDA_VISIBLE_DEVICES": visible},
    )


def _places(shop: Workshop) -> Places:
    if shop.image:
        return INSIDE
    return msgspec.structs.replace(BESIDE, examples=shop.examples, programs=shop.programs)
