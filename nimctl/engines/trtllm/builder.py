"""Runs the commands of a job, and sees to it that an engine came out."""

import shutil
from pathlib import Path

from nimctl.core.diagnosis import Diagnosis
from nimctl.core.errors import BuildError, DiskFullError, NimctlError
from nimctl.core.events import Emit, Finished, Reached, Started
from nimctl.core.trtllm.diagnosis import explain_build
from nimctl.core.trtllm.job import WORK, EngineJob
from nimctl.core.trtllm.pipeline import Command
from nimctl.engines.trtllm.buildlog import BuildLog
from nimctl.engines.trtllm.runners import Ended, Runner, Site

TASK = "build"


class TrtllmBuilder:
    """Builds into a directory that it is given; what is needed only meanwhile goes again."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def build(self, job: EngineJob, site: Site, emit: Emit) -> str | None:
        """Write the job's outputs; the digest of the image that did it, if one did.

        Raises:
            BuildError: A command failed, or left no engine; its log says why.
            DiskFullError: The disk filled up.
            ContainerEngineError: The container engine fails.
        """
        work = site.staging / WORK
        work.mkdir()
        for name, text in job.extra.items():
            (site.staging / name).write_text(text, encoding="utf-8")
        emit(Started(task=TASK, title=f"building {job.model}"))
        with BuildLog(site.log, TASK, emit) as log:
            for number, command in enumerate(job.commands, 1):
                stage = f"{command.phase} ({number} of {len(job.commands)}), log {site.log}"
                emit(Reached(task=TASK, stage=stage))
                log.command(command.line)
                ended = self._runner.run(job, command, site, log.line, log.note)
                if ended.exit_code:
                    raise failure(job, command, ended, log)
            _check_outputs(job, site.staging, log)
        shutil.rmtree(work)
        emit(Finished(task=TASK))
        return self._runner.image_digest(job)


def failure(job: EngineJob, command: Command, ended: Ended, log: BuildLog) -> NimctlError:
    """What to say of a command that failed."""
    found = explain_build(
        log.tail, job.model, exit_code=ended.exit_code, oom_killed=ended.oom_killed
    )
    how = "was killed" if ended.exit_code == 137 else f"ended with status {ended.exit_code}"  # noqa: PLR2004
    kind = DiskFullError if found.cause == "the disk is full" else BuildError
    program = command.argv[1] if command.argv[0] == "python3" else command.argv[0]
    return kind(
        f"{command.phase} of {job.model} failed: {Path(program).name} {how}",
        cause=_cause(found),
        hint=f"{found.hint}; the whole log: {log.path}" if found.hint else f"less {log.path}",
    )


def _cause(found: Diagnosis) -> str:
    said = "\n".join(f"  {line}" for line in found.lines)
    return f"{found.cause or 'its log ends with'}\n{said}" if said else found.cause or "unknown"


def _check_outputs(job: EngineJob, staging: Path, log: BuildLog) -> None:
    missing = [
        name
        for name in job.outputs
        if not (staging / name).is_file() or not (staging / name).stat().st_size
    ]
    if missing:
        raise BuildError(
            f"the build of {job.model} ended well and left no engine",
            cause="there is no " + ", ".join(missing),
            hint=f"less {log.path}",
        )
