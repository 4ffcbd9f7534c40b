"""Engines built by a real container engine, with builders that check what they are given."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from builder_image import make_builder_image
from docker_cli import RUN, docker
from trtllm_subjects import CALIBRATION, SHOP, subject

from nimctl.core.containers import ContainerSpec, Devices
from nimctl.core.errors import BuildError, DiskFullError, NimctlError, NotFoundError
from nimctl.core.events import Event, Reached
from nimctl.core.trtllm.design import Design, design
from nimctl.core.trtllm.job import BUILD_LABEL, WORK, build_container
from nimctl.core.trtllm.subject import BuildOptions, Subject
from nimctl.engines.trtllm.builder import TrtllmBuilder
from nimctl.engines.trtllm.runners import ContainerRunner, Site
from nimctl.serving.docker.engine import DockerEngine

KEY = f"{os.getpid():012x}".ljust(64, "0")
# Root runs no container as itself.
USER = f"{os.getuid()}:{os.getgid()}" if os.getuid() else "1000:1000"


@pytest.fixture(scope="module")
def builder_image(docker_runs: None) -> Iterator[str]:  # noqa: ARG001 - it skips
    """The stand-in under NVIDIA's name for it, on a registry of this test's own."""
    reference = f"{RUN}.test/nvidia/tensorrt-llm/release:1.2.1"
    make_builder_image(reference)
    yield reference
    docker("rmi", "--force", reference)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A checkpoint, an empty directory to build into, and a place for the log."""
    checkpoint, staging = tmp_path / "checkpoint", tmp_path / "staging"
    checkpoint.mkdir()
    staging.mkdir()
    (checkpoint / "config.json").write_text("{}")
    return Site(KEY, checkpoint, staging, tmp_path / "builds" / "build.log")


@pytest.fixture
def made(builder_image: str, tmp_path: Path) -> Callable[..., Design]:
    """Designs whose jobs run in the stand-in, without GPUs unless asked for."""
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "Paris is the capital of France."}\n')
    calibration = msgspec.structs.replace(CALIBRATION, path=str(texts))

    def make(
        one: Subject | None = None, options: BuildOptions | None = None, **shop: object
    ) -> Design:
        asked = options or BuildOptions(calibration=calibration)
        there = msgspec.structs.replace(SHOP, image=builder_image, user=USER, **shop)
        return design(one or subject("fp8"), asked, there)

    return make


def build(engine: DockerEngine, one: Design, site: Site) -> tuple[list[Event], str | None]:
    events: list[Event] = []
    digest = TrtllmBuilder(ContainerRunner(engine)).build(one.job, site, events.append)
    return events, digest


def behave(site: Site, word: str) -> None:
    (site.checkpoint / "stand-in.txt").write_text(word)


def names(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*")}


def spec_of(one: Design, site: Site, number: int = 0) -> ContainerSpec:
    """The container of one command, with the directory that it is given."""
    (site.staging / WORK).mkdir(exist_ok=True)
    return build_container(
        one.job,
        one.job.commands[number],
        key=site.key,
        checkpoint=str(site.checkpoint),
        staging=str(site.staging),
    )


def nothing_is_left() -> bool:
    return docker("ps", "--all", "--quiet", "--filter", f"label={BUILD_LABEL}={KEY}") == ""


def test_a_quantised_engine_is_built_for_two_gpus(
    engine: DockerEngine, made: Callable[..., Design], site: Site
) -> None:
    events, digest = build(engine, made(subject("fp8", tp=2)), site)
    assert names(site.staging) == {"config.json", "rank0.engine", "rank1.engine"}
    config = (site.staging / "config.json").read_text()
    assert {"version", "pretrained_config", "build_config"} <= set(msgspec.json.decode(config))
    stages = [event.stage for event in events if isinstance(event, Reached)]
    assert stages[0].startswith("quantise (1 of 2)")
    assert "writing rank1" in stages
    assert stages[-1] == "built in 00:00:01"
    assert digest
    assert digest.startswith("sha256:")
    assert nothing_is_left()


def test_a_builder_sees_only_what_it_needs(
    engine: DockerEngine, made: Callable[..., Design], site: Site
) -> None:
    build(engine, made(), site)
    log = site.log.read_text()
    assert f"user {USER}" in log
    assert "\nnetwork lo\n" in log
    assert "the checkpoint is writable" not in log
    assert "secret" not in log
    owners = {path.stat().st_uid for path in site.staging.rglob("*")}
    assert owners == {os.getuid()}


def test_the_whole_log_is_kept_with_the_commands(
    engine: DockerEngine, made: Callable[..., Design], site: Site
) -> None:
    one = made()
    build(engine, one, site)
    lines = site.log.read_text().splitlines()
    assert [line[2:] for line in lines if line.startswith("$ ")] == [
        command.line for command in one.job.commands
    ]


@pytest.mark.parametrize("precision", ["bf16", "int4_awq"])
def test_the_builders_take_both_ways(
    engine: DockerEngine, made: Callable[..., Design], site: Site, precision: str
) -> None:
    build(engine, made(subject(precision)), site)
    assert (site.staging / "rank0.engine").is_file()


@pytest.mark.parametrize(
    ("word", "kind", "said"),
    [
        ("fail", BuildError, ["ended with status 1", "RuntimeError: engine build failed"]),
        ("oom", BuildError, ["the GPU's memory ran out", "--tp 2"]),
        ("killed", BuildError, ["was killed", "the host's memory ran out"]),
        ("nothing", BuildError, ["left no engine", "rank0.engine"]),
    ],
)
def test_a_failed_build_says_why(
    engine: DockerEngine,
    made: Callable[..., Design],
    site: Site,
    word: str,
    kind: type[NimctlError],
    said: list[str],
) -> None:
    behave(site, word)
    with pytest.raises(kind) as caught:
        build(engine, made(), site)
    text = f"{caught.value.message}\n{caught.value.cause}\n{caught.value.hint}"
    for words in said:
        assert words in text
    assert str(site.log) in text
    assert nothing_is_left()


def test_a_full_disk_is_told_as_that(
    engine: DockerEngine, made: Callable[..., Design], site: Site, small_disk: Path
) -> None:
    behave(site, "fill")
    staging = small_disk / "staging"
    staging.mkdir()
    with pytest.raises(DiskFullError, match="build of"):
        build(engine, made(), site._replace(staging=staging))
    assert nothing_is_left()


def test_an_interrupted_build_leaves_no_container(
    engine: DockerEngine, made: Callable[..., Design], site: Site
) -> None:
    behave(site, "hang")

    one = made()
    first = one.job.commands[0]

    def on_line(line: str) -> None:
        if "hanging" in line:
            raise KeyboardInterrupt

    (site.staging / WORK).mkdir()
    with pytest.raises(KeyboardInterrupt):
        ContainerRunner(engine).run(one.job, first, site, on_line, on_line)
    assert nothing_is_left()


def test_a_container_of_a_killed_nimctl_is_in_nobodys_way(
    engine: DockerEngine, made: Callable[..., Design], site: Site
) -> None:
    one = made()
    engine.create(spec_of(one, site))
    (site.staging / WORK).rmdir()
    build(engine, one, site)
    assert (site.staging / "rank0.engine").is_file()
    assert nothing_is_left()


def test_an_image_that_is_not_there_is_said_to_be_missing(
    engine: DockerEngine, made: Callable[..., Design], site: Site
) -> None:
    one = made()
    job = msgspec.structs.replace(one.job, image="nvcr.io/no/such/release:1.2.1")
    with pytest.raises(NotFoundError, match="does not have the image"):
        build(engine, msgspec.structs.replace(one, job=job), site)


def test_the_created_container_asks_for_the_chosen_gpus(
    engine: DockerEngine, made: Callable[..., Design], site: Site
) -> None:
    one = made(subject("fp8", tp=2), devices=Devices(uuids=("GPU-11111111", "GPU-22222222")))
    spec = spec_of(one, site, -1)
    engine.create(spec)
    try:
        host = msgspec.json.decode(docker("inspect", "--format", "{{json .HostConfig}}", spec.name))
        config = msgspec.json.decode(docker("inspect", "--format", "{{json .Config}}", spec.name))
    finally:
        engine.remove(spec.name)
    (request,) = host["DeviceRequests"]
    assert request["DeviceIDs"] == ["GPU-11111111", "GPU-22222222"]
    assert request["Capabilities"] == [["gpu"]]
    assert host["IpcMode"] == "host"
    assert host["NetworkMode"] == "none"
    assert host["CapDrop"] == ["ALL"]
    # Docker adds another to containers with the host's IPC.
    assert "no-new-privileges" in host["SecurityOpt"]
    limits = {one["Name"]: (one["Soft"], one["Hard"]) for one in host["Ulimits"]}
    assert limits == {"memlock": (-1, -1), "stack": (67108864, 67108864)}
    mounts = {one["Target"]: one.get("ReadOnly", False) for one in host["Mounts"]}
    assert mounts == {
        "/checkpoint": True,
        "/engine": False,
        "/work": False,
        "/calibration/train.jsonl": True,
    }
    assert not [one for one in config["Env"] if "KEY" in one or "TOKEN" in one]
