"""A build step as shell lines that a person can run."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from nimctl.core.docker_run import printed
from nimctl.core.layout import ENGINE_FILE, engine_directory
from nimctl.core.plan import Build
from nimctl.core.trtllm.job import (
    BESIDE,
    WORK,
    EngineJob,
    build_container,
    build_environment,
    calibration_name,
    without_secrets,
)


def build_lines(step: Build, python: str) -> Iterator[str]:
    """The lines; the engine lies where a server of the model looks for it."""
    directory = Path(step.directory) / engine_directory(step.recipe.backend)
    if step.job is None:
        yield f"# build the {step.recipe.precision} engine"
        yield shlex.join(["mkdir", "-p", str(directory)])
        yield shlex.join(
            [
                *(python, "-m", "nimctl.engines.gguf"),
                *("--checkpoint", step.directory),
                *("--precision", step.recipe.precision),
                *("--output", str(directory / ENGINE_FILE)),
            ]
        )
        return
    yield f"# build the {step.recipe.precision} engine, strategy {step.recipe.strategy}"
    yield shlex.join(["mkdir", "-p", str(directory / WORK)])
    for name, text in step.job.extra.items():
        yield f"cat >{shlex.quote(str(directory / name))} <<'END'\n{text}END"
    if step.job.image:
        yield from _in_containers(step, step.job, directory)
    else:
        yield from _here(step.job, directory)
    yield shlex.join(["rm", "-rf", str(directory / WORK)])


def _in_containers(step: Build, job: EngineJob, directory: Path) -> Iterator[str]:
    if job.commands and job.user not in (None, "0:0"):
        # Root does not run containers as itself, and what it has just made is its own.
        owned = shlex.join(["chown", "-R", str(job.user), str(directory)])
        yield f'[ "$(id -u)" != 0 ] || {owned}'
    for command in job.commands:
        yield f"# {command.phase}, inside the container: {command.line}"
        spec = build_container(
            job,
            command,
            key=step.key or "0" * 12,
            checkpoint=step.directory,
            staging=str(directory),
        )
        yield printed(spec, detach=False)


def _here(job: EngineJob, directory: Path) -> Iterator[str]:
    yield shlex.join(["cd", str(directory / WORK)])
    if job.calibration:
        yield shlex.join(["mkdir", "-p", BESIDE.calibration])
        link = f"{BESIDE.calibration}/{calibration_name(job.calibration)}"
        yield shlex.join(["ln", "-s", job.calibration, link])
    for command in job.commands:
        settings = {**build_environment(BESIDE), **job.environment}
        words = [f"{name}={value}" for name, value in settings.items()]
        yield shlex.join([*without_secrets(), *words, *command.argv])
