"""Where the commands of a build run: in containers, or on this machine."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from nimctl.attended import attended
from nimctl.core.containers import ContainerSpec
from nimctl.core.errors import BuildError
from nimctl.core.ports import Containers
from nimctl.core.trtllm.job import (
    BESIDE,
    WORK,
    EngineJob,
    build_container,
    build_environment,
    calibration_name,
    without_secrets,
)
from nimctl.core.trtllm.pipeline import Command
from nimctl.ulimits import Ulimits

_GRACE_S = 10.0
_TIED = Path(__file__).with_name("tied.py")
# Only a container's home is nimctl's to choose.
_OWN = ("HOME", "USER")


class Site(NamedTuple):
    """One build's place: the engine's key, its checkpoint, the directory to fill, its log."""

    key: str
    checkpoint: Path
    staging: Path
    log: Path


class Ended(NamedTuple):
    """How a command ended."""

    exit_code: int
    oom_killed: bool = False


class Runner(Protocol):
    """Runs the commands of a job."""

    def run(
        self,
        job: EngineJob,
        command: Command,
        site: Site,
        on_line: Callable[[str], None],
        on_note: Callable[[str], None],
    ) -> Ended:
        """Run one to its end; hand on each line that it prints, and what a user should know."""
        ...

    def image_digest(self, job: EngineJob) -> str | None:
        """The digest of the image that the commands ran in; None where there was none."""
        ...


class ContainerRunner:
    """Runs each command in a container of its own, which is gone when the command ends."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._ulimits = Ulimits()

    def run(
        self,
        job: EngineJob,
        command: Command,
        site: Site,
        on_line: Callable[[str], None],
        on_note: Callable[[str], None],
    ) -> Ended:
        """Run a command.

        Raises:
            NotFoundError: The engine does not have the image.
            ContainerEngineError: The container engine fails.
        """
        spec = build_container(
            job,
            command,
            key=site.key,
            checkpoint=str(site.checkpoint),
            staging=str(site.staging),
        )
        # Of one key one builds at a time: a container of this name is of a nimctl that was killed.
        self._containers.remove(spec.name)
        with _lent(site.staging, job.user):
            return attended(
                partial(self._run, spec, on_line, on_note),
                partial(self._containers.remove, spec.name),
            )

    def _run(
        self, spec: ContainerSpec, on_line: Callable[[str], None], on_note: Callable[[str], None]
    ) -> Ended:
        # Builds work with the engine's own limits; they lock less memory for transfers.
        state = self._ulimits.allowed(spec, lambda one: self._containers.run(one, on_line), on_note)
        return Ended(state.exit_code, state.oom_killed)

    def image_digest(self, job: EngineJob) -> str | None:
        """The image's digest in its registry, or that of its configuration."""
        image = self._containers.image(job.image or "")
        if image is None:
            return None
        return image.digests[0] if image.digests else image.id


class LocalRunner:
    """Runs commands on this machine, in a process group that ends with the run, or with nimctl."""

    def run(
        self,
        job: EngineJob,
        command: Command,
        site: Site,
        on_line: Callable[[str], None],
        on_note: Callable[[str], None],
    ) -> Ended:
        """Run a command.

        Raises:
            BuildError: It does not end when it is interrupted.
        """
        del on_note  # There is no container whose limits could be refused.
        work = site.staging / WORK
        _lay_out(job, work)
        process = subprocess.Popen(
            _argv(job, command),
            cwd=work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        with _ending_with_us(process):
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            for line in process.stdout:
                on_line(line)
            code = process.wait()
        return Ended(128 - code if code < 0 else code)

    def image_digest(self, job: EngineJob) -> str | None:
        """There is none."""
        del job
        return None


@contextlib.contextmanager
def _lent(directory: Path, user: str | None) -> Iterator[None]:
    """Let a container's user write; root, who does not run containers as itself, lends what it has.

    What the container wrote comes back to who runs nimctl.
    """
    uid, _, gid = (user or "").partition(":")
    if os.getuid() != 0 or not uid.isdigit() or uid == "0":
        yield
        return
    _give(directory, int(uid), int(gid or uid))
    try:
        yield
    finally:
        _give(directory, 0, 0)


def _give(directory: Path, uid: int, gid: int) -> None:
    for path in (directory, *directory.rglob("*")):
        os.chown(path, uid, gid, follow_symlinks=False)


def _argv(job: EngineJob, command: Command) -> list[str]:
    quiet = {**build_environment(BESIDE), **job.environment}
    settings = [f"{name}={value}" for name, value in quiet.items() if name not in _OWN]
    tied = (sys.executable, "-I", str(_TIED), str(os.getpid()))
    return [*tied, *without_secrets(), *settings, *command.argv]


def _lay_out(job: EngineJob, work: Path) -> None:
    if job.calibration is None:
        return
    link = work / BESIDE.calibration / calibration_name(job.calibration)
    link.parent.mkdir(exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(job.calibration)


@contextlib.contextmanager
def _ending_with_us(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        _end(process)
        if process.stdout is not None:
            process.stdout.close()


def _end(process: subprocess.Popen[str]) -> None:
    # The group outlives its leader when a worker hangs, so it is told even when that has ended.
    has_ended = False
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        if not has_ended:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_S)
                has_ended = True
    if not has_ended:
        raise BuildError(f"process {process.pid} of the build does not end")
