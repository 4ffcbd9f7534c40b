"""The work that a build step does, complete: commands, where they run, what must come out."""

from pathlib import PurePosixPath

import msgspec

from nimctl.core.containers import LABEL_PREFIX, ContainerSpec, Devices, Mount
from nimctl.core.serving.part import GPU_ULIMITS, QUIET
from nimctl.core.trtllm.pipeline import Command, Places
from nimctl.core.value import Value

INSIDE = Places()
# Beside the directory that the commands run in, which lies in the staged engine.
BESIDE = Places(calibration="calibration", work=".", engine="..")
WORK = ".work"
# Nothing is fetched while it runs. Containers get no variable of the user's anyway.
SECRETS = (
    *("NGC_API_KEY", "NGC_CLI_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
)
BUILD_LABEL = f"{LABEL_PREFIX}build"
_TMP_BYTES = 8 * 2**30


class EngineJob(Value):
    """What makes one engine.

    `commands` run one after the other, in a container of `image`, or on this machine where that is
    None; without commands there is only `extra` to write, files with their content. `calibration`
    is a file, `programs` the directory with nimctl's own scripts. `outputs` are the files that
    must be there in the end. `environment` is for a run on this machine.
    """

    model: str
    commands: tuple[Command, ...]
    outputs: tuple[str, ...]
    image: str | None = None
    devices: Devices | None = None
    user: str | None = None
    calibration: str | None = None
    programs: str | None = None
    environment: dict[str, str] = {}
    extra: dict[str, str] = {}


def calibration_name(path: str) -> str:
    """What the calibration file is called for the builder, which goes by its suffix.

    A directory with `cnn_dailymail` or `scienceqa` in its path would be taken for those data sets
    (tensorrt_llm/quantization/quantize_by_modelopt.py), so nothing of the user's path is kept.
    """
    return f"train{PurePosixPath(path).suffix}"


def build_container(
    job: EngineJob, command: Command, *, key: str, checkpoint: str, staging: str
) -> ContainerSpec:
    """The container that runs one command: it sees the checkpoint, its output and nothing else.

    It has no network and no key of any registry; the root file system stays writable, because the
    driver's files are put into it.
    """
    mounts = [
        Mount(source=checkpoint, target=INSIDE.checkpoint),
        Mount(source=staging, target=INSIDE.engine, read_only=False),
        Mount(source=f"{staging}/{WORK}", target=INSIDE.work, read_only=False),
    ]
    if job.calibration:
        target = f"{INSIDE.calibration}/{calibration_name(job.calibration)}"
        mounts.append(Mount(source=job.calibration, target=target))
    if job.programs:
        mounts.append(Mount(source=job.programs, target=INSIDE.programs))
    return ContainerSpec(
        name=f"nimctl-build-{key[:12]}",
        image=job.image or "",
        command=command.argv,
        environment=build_environment(INSIDE),
        labels={BUILD_LABEL: key},
        mounts=tuple(mounts),
        tmpfs={"/tmp": _TMP_BYTES},  # noqa: S108 - inside the container
        network="none",
        devices=job.devices,
        user=job.user,
        working_directory=INSIDE.work,
        read_only_root=False,
        ipc="host",
        ulimits=GPU_ULIMITS,
    )


def build_environment(places: Places) -> dict[str, str]:
    """Variables of a build: no look-up anywhere, and all that is cached goes with the work."""
    return {
        **QUIET,
        "HF_DATASETS_OFFLINE": "1",
        "TRTLLM_NO_USAGE_STATS": "1",
        # A user whom the image does not know has neither home nor name.
        "HOME": places.work,
        "USER": "nimctl",
    }


def without_secrets() -> tuple[str, ...]:
    """The beginning of a command line that hands on no key of a registry."""
    return ("env", *(word for name in SECRETS for word in ("-u", name)))


def expected_outputs(world_size: int) -> tuple[str, ...]:
    """What makes an engine: TensorRT-LLM, docs/source/legacy/architecture/checkpoint.md."""
    return ("config.json", *(f"rank{rank}.engine" for rank in range(world_size)))


def with_image(job: EngineJob, image: str) -> EngineJob:
    """The same job in another image, such as the same one by its digest."""
    return msgspec.structs.replace(job, image=image)
