"""Builds with a TensorRT-LLM that is installed here: real processes on this machine."""

import multiprocessing
import os
import signal
import stat
import threading
import time
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import msgspec
import pytest
from trtllm_subjects import CALIBRATION, SHOP, subject

from nimctl.core.errors import BuildError
from nimctl.core.events import Event, Reached
from nimctl.core.trtllm.design import Design, design
from nimctl.core.trtllm.job import EngineJob
from nimctl.core.trtllm.machine import Installed
from nimctl.core.trtllm.subject import BuildOptions
from nimctl.engines.trtllm.builder import TrtllmBuilder
from nimctl.engines.trtllm.installed import find
from nimctl.engines.trtllm.runners import LocalRunner, Site

# What trtllm-build is to do is in the checkpoint.
BUILD = """#!/bin/sh
while [ $# -gt 0 ]; do
  case "$1" in --checkpoint_dir) checkpoint=$2 ;; --output_dir) output=$2 ;; esac
  shift
done
echo "gpus $CUDA_VISIBLE_DEVICES, offline $HF_HUB_OFFLINE, home $HOME"
env | grep -E 'KEY|TOKEN' | sed 's/^/secret /'
ls calibration 2>/dev/null
case "$(cat "$checkpoint/stand-in.txt" 2>/dev/null)" in
  hang) echo "child $$"; sleep 600 & echo "grandchild $!"; wait ;;
  killed) kill -9 $$ ;;
esac
echo "[TRT-LLM] [I] Serializing engine to $output/rank0.engine..."
echo engine >"$output/rank0.engine"
echo '{"version": "1.2.1"}' >"$output/config.json"
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    checkpoint, staging = tmp_path / "checkpoint", tmp_path / "staging"
    checkpoint.mkdir()
    staging.mkdir()
    return Site("k" * 64, checkpoint, staging, tmp_path / "build.log")


def made(site: Site, directory: Path) -> Design:
    """A job whose program is a script; the checkpoint is TensorRT-LLM's own."""
    shop = msgspec.structs.replace(SHOP, image=None)
    one = design(subject("fp8", form="trtllm_checkpoint"), BuildOptions(), shop)
    program = directory / "trtllm-build"
    program.write_text(BUILD)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (command,) = one.job.commands
    argv = [str(program), *command.argv[1:]]
    argv[argv.index("--checkpoint_dir") + 1] = str(site.checkpoint)
    here = msgspec.structs.replace(command, argv=tuple(argv))
    return msgspec.structs.replace(one, job=msgspec.structs.replace(one.job, commands=(here,)))


def ignore(_: object) -> None:
    """Take an event and do nothing."""


@pytest.mark.parametrize("name", ["NGC_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"])
def test_a_builder_gets_no_key_of_a_registry(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "a secret of the user's")
    TrtllmBuilder(LocalRunner()).build(made(site, tmp_path).job, site, ignore)
    assert "a secret" not in site.log.read_text()


def test_an_engine_is_built_in_the_directory_that_is_given(site: Site, tmp_path: Path) -> None:
    events: list[Event] = []
    one = made(site, tmp_path)
    assert TrtllmBuilder(LocalRunner()).build(one.job, site, events.append) is None
    assert {path.name for path in site.staging.iterdir()} == {"config.json", "rank0.engine"}
    log = site.log.read_text()
    assert "gpus GPU-00000000, offline 1, home " in log
    assert f"home {os.environ['HOME']}" in log
    assert "writing rank0" in [event.stage for event in events if isinstance(event, Reached)]


def test_calibration_data_lie_where_the_commands_look(site: Site, tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "x"}\n')
    one = made(site, tmp_path)
    job = msgspec.structs.replace(one.job, calibration=str(texts))
    TrtllmBuilder(LocalRunner()).build(job, site, ignore)
    assert "train.jsonl" in site.log.read_text()


def test_a_builder_that_is_killed_is_told_of(site: Site, tmp_path: Path) -> None:
    (site.checkpoint / "stand-in.txt").write_text("killed")
    with pytest.raises(BuildError) as caught:
        TrtllmBuilder(LocalRunner()).build(made(site, tmp_path).job, site, ignore)
    assert "was killed" in caught.value.message
    assert "host's memory" in (caught.value.cause or "")


def test_an_interrupt_ends_the_builder_and_what_it_started(site: Site, tmp_path: Path) -> None:
    (site.checkpoint / "stand-in.txt").write_text("hang")
    one = made(site, tmp_path)
    (site.staging / ".work").mkdir()
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        if line.startswith("grandchild"):
            threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        LocalRunner().run(one.job, one.job.commands[0], site, on_line, on_line)
    wait_for_the_end_of(lines)


def wait_for_the_end_of(lines: list[str]) -> None:
    """Of the processes that a builder which hangs has named."""
    pids = [int(line.split()[1]) for line in lines if "child" in line]
    assert len(pids) == 2
    for pid in pids:
        while _is_running(pid):
            time.sleep(0.05)


def run_and_tell(job: EngineJob, site: Site, lines: "SimpleQueue[str]") -> None:
    """In a process of its own: run the first command."""
    LocalRunner().run(job, job.commands[0], site, lines.put, lines.put)


def test_a_builder_ends_with_a_nimctl_that_is_killed(site: Site, tmp_path: Path) -> None:
    (site.checkpoint / "stand-in.txt").write_text("hang")
    job = made(site, tmp_path).job
    (site.staging / ".work").mkdir()
    processes = multiprocessing.get_context("spawn")
    lines = processes.SimpleQueue()
    nimctl = processes.Process(target=run_and_tell, args=(job, site, lines))
    nimctl.start()
    said = [lines.get() for _ in range(3)]
    nimctl.kill()
    nimctl.join()
    wait_for_the_end_of(said)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def install(prefix: Path, version: str = "1.2.1", packages: str = "dist-packages") -> Path:
    """A TensorRT-LLM as pip leaves it, without its content."""
    program = prefix / "bin" / "trtllm-build"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    metadata = prefix / "lib" / "python3.12" / packages / f"tensorrt_llm-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: tensorrt-llm\nVersion: {version}\n"
    )
    return program.parent


def test_an_installation_is_found_without_importing_it(tmp_path: Path) -> None:
    examples = tmp_path / "examples"
    programs = install(tmp_path / "usr")
    assert find(str(programs), examples) == Installed(version="1.2.1")
    examples.mkdir()
    assert find(str(programs), examples) == Installed(version="1.2.1", examples=str(examples))


def test_an_installation_is_found_behind_a_link(tmp_path: Path) -> None:
    programs = install(tmp_path / "venv", packages="site-packages")
    links = tmp_path / "links"
    links.mkdir()
    (links / "trtllm-build").symlink_to(programs / "trtllm-build")
    found = find(str(links), tmp_path)
    assert found is not None
    assert found.version == "1.2.1"


def test_a_program_of_that_name_alone_is_no_installation(tmp_path: Path) -> None:
    programs = install(tmp_path / "usr")
    (metadata,) = (tmp_path / "usr" / "lib").rglob("METADATA")
    metadata.unlink()
    metadata.parent.rmdir()
    assert find(str(programs), tmp_path) is None
    assert find(str(tmp_path / "nowhere"), tmp_path) is None


def test_calibration_is_only_linked_where_there_is_some() -> None:
    assert CALIBRATION.path not in str(design(subject("bf16"), BuildOptions(), SHOP).job)
