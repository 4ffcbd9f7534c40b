"""The commands that make an engine, exactly as they run in the builder's container.

Sources: `convert_checkpoint.py`, `quantize.py` and `trtllm-build` of TensorRT-LLM 1.x, whose flags
are in `flag_table`.
"""

import shlex
from collections.abc import Iterator
from typing import Literal

import msgspec

from nimctl.core.trtllm.families import UNQUANTISED, family_of
from nimctl.core.trtllm.gates import check_flags
from nimctl.core.trtllm.limits import EngineLimits
from nimctl.core.trtllm.overrides import applied, check_settings, words
from nimctl.core.trtllm.subject import SAMPLES, BuildOptions, Subject
from nimctl.core.trtllm.tuning import build_flags, kv_cache_of
from nimctl.core.value import Value

CONVERT, QUANTISE, BUILD = "convert_checkpoint.py", "quantize.py", "trtllm-build"
_DTYPES = {"bf16": "bfloat16", "fp16": "float16"}
# They change how long it takes, not what comes out.
_WITHOUT_EFFECT = ("--workers", "--log_level", "--monitor_memory")


class Places(Value):
    """Where things lie for the commands: inside a container, or on the machine itself.

    `work` is a directory for what is needed only while it runs; `examples` are TensorRT-LLM's,
    `programs` nimctl's own.
    """

    checkpoint: str = "/checkpoint"
    calibration: str = "/calibration"
    work: str = "/work"
    engine: str = "/engine"
    examples: str = "/app/tensorrt_llm/examples"
    programs: str = "/nimctl"


class Command(Value):
    """One program of a build; `phase` names what it does."""

    phase: Literal["convert", "quantise", "build"]
    argv: tuple[str, ...]

    @property
    def line(self) -> str:
        """As a shell takes it."""
        return shlex.join(self.argv)


class Pipeline(Value):
    """What one build consists of: per tool, the flags that decide what comes out of it."""

    limits: EngineLimits
    kv_cache: str
    steps: dict[str, dict[str, str]]
    script: str | None = None

    @property
    def flags(self) -> dict[str, str]:
        """Everything that decides what comes out, by tool and flag: a part of the engine key."""
        return {
            f"{tool} {flag}": value
            for tool, flags in self.steps.items()
            for flag, value in flags.items()
            if flag not in _WITHOUT_EFFECT
        }


def pipeline(subject: Subject, limits: EngineLimits, options: BuildOptions) -> Pipeline:
    """Choose the commands and their flags, as asked for.

    Raises:
        UsageError: A setting is refused by its command, or by a rule of the builder.
    """
    kv_cache = kv_cache_of(subject, options.kv_cache)
    steps = dict(_steps(subject, kv_cache))
    check_settings(options.settings, steps)
    steps = {tool: applied(tool, flags, options.settings) for tool, flags in steps.items()}
    check_flags(subject, steps[BUILD])
    family = family_of(subject.class_name)
    script = family.script if family and CONVERT in steps else None
    return Pipeline(limits=limits, kv_cache=kv_cache, steps=steps, script=script)


def needs_calibration(subject: Subject, options: BuildOptions) -> bool:
    """Whether the commands measure activations, for which they need texts."""
    return QUANTISE in dict(_steps(subject, kv_cache_of(subject, options.kv_cache)))


def commands(made: Pipeline, places: Places) -> tuple[Command, ...]:
    """The command lines, one after the other."""
    return tuple(_commands(made, places))


def _commands(made: Pipeline, places: Places) -> Iterator[Command]:
    checkpoint = places.checkpoint
    if CONVERT in made.steps or QUANTISE in made.steps:
        checkpoint = f"{places.work}/trtllm_checkpoint"
    directories = ("--model_dir", places.checkpoint, "--output_dir", checkpoint)
    if flags := made.steps.get(CONVERT):
        script = f"{places.examples}/{made.script}"
        argv = ("python3", script, *directories, *words(CONVERT, flags))
        yield Command(phase="convert", argv=argv)
    if flags := made.steps.get(QUANTISE):
        script = f"{places.examples}/quantization/quantize.py"
        data = ("--calib_dataset", places.calibration)
        argv = ("python3", script, *directories, *data, *words(QUANTISE, flags))
        yield Command(phase="quantise", argv=argv)
    limits = {
        f"--{name}": str(value) for name, value in msgspec.structs.asdict(made.limits).items()
    }
    argv = (
        *("trtllm-build", "--checkpoint_dir", checkpoint, "--output_dir", places.engine),
        # It is written to the current directory unless told where.
        *("--output_timing_cache", f"{places.work}/model.cache"),
        *words(BUILD, {**limits, **made.steps[BUILD]}),
    )
    yield Command(phase="build", argv=argv)


def _steps(subject: Subject, kv_cache: str) -> Iterator[tuple[str, dict[str, str]]]:
    if subject.form != "trtllm_checkpoint":
        yield _conversion(subject, kv_cache)
    yield BUILD, build_flags(subject)


def _conversion(subject: Subject, kv_cache: str) -> tuple[str, dict[str, str]]:
    precision = subject.profile.precision or "bf16"
    ranks = {"--tp_size": str(subject.profile.tp), "--pp_size": str(subject.profile.pp)}
    if subject.form == "quantised" or (precision in UNQUANTISED and kv_cache == "auto"):
        flags = {
            "--dtype": _DTYPES.get(precision, "auto"),
            **ranks,
            **({f"--use_{precision}": "true"} if subject.form == "quantised" else {}),
            **({"--fp8_kv_cache": "true"} if kv_cache == "fp8" else {}),
            "--workers": str(subject.world_size),
        }
        return CONVERT, flags
    return QUANTISE, {
        "--dtype": _DTYPES.get(precision, "auto"),
        "--qformat": "full_prec" if precision in UNQUANTISED else precision,
        **({"--kv_cache_dtype": kv_cache} if kv_cache != "auto" else {}),
        **ranks,
        "--calib_size": str(SAMPLES),
    }
