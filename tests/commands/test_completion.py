"""What a shell completes: click is asked as bash asks it, in a process of its own."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Run
from docker_cli import LABEL, docker
from nim_manifests import SCHEMA_2

from nimctl.core.servers import HOME_LABEL, NAME_LABEL

TAKES_A_SERVER = ("stop", "logs", "restart", "update", "inspect", "rm", "rm --server")
# For a hung test. It is less than the minute for which commands wait for an engine's answer.
HUNG_S = 40


def completions(environ: dict[str, str], *words: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "nimctl"],
        env=environ
        | {
            "_NIMCTL_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(("nimctl", *words)),
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=HUNG_S,
    )
    # It would stand in the middle of the line that is being typed.
    assert done.stderr == ""
    assert done.returncode == 0
    # click ends an empty list with an empty line.
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.fixture
def server(run: Run) -> str:
    """The name of a server that runs."""
    argv = ("capitals-demo", "-n", "spring", "--detach", "--port", "auto")
    assert run("serve", *argv).code == 0
    return "spring"


@pytest.fixture
def silent_engine(tmp_path: Path) -> Iterator[str]:
    """The address of an engine that takes connections and never says a word."""
    path = tmp_path / "silent.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        yield f"unix://{path}"


def test_it_knows_commands_models_flags_and_gpus(environ: dict[str, str]) -> None:
    assert "list-profiles" in completions(environ, "li")
    assert completions(environ, "serve", "cap") == ["capitals-demo"]
    assert "--max-model-len" in completions(environ, "serve", "--max")
    assert completions(environ, "list-profiles", "--gpu", "H100_P") == ["h100_pcie"]
    assert completions(environ, "list-profiles", "cap") == ["capitals-demo"]
    profiles = ["llama_cpp-f16-tp1-pp1", "llama_cpp-q8_0-tp1-pp1"]
    for option in ("--explain", "--profile"):
        asked = ("list-profiles", "capitals-demo", option, "llama_cpp")
        assert sorted(completions(environ, *asked)) == profiles


def test_it_knows_the_profiles_of_a_manifest(environ: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(SCHEMA_2)
    line = ("pull", "--manifest", str(path), "--profile", "tensorrt_llm-a")
    name = "tensorrt_llm-a100-bf16-tp1-pp1-throughput"
    assert set(completions(environ, *line)) == {name}
    path.write_text("nothing of the kind")
    assert completions(environ, *line) == []


def test_every_command_that_takes_a_server_knows_those_that_run_and_those_that_ended(
    environ: dict[str, str], run: Run, server: str
) -> None:
    for command in TAKES_A_SERVER:
        assert completions(environ, *command.split(), "sp") == [server]
        assert completions(environ, *command.split(), "x") == []
    assert run("stop", server).code == 0
    assert completions(environ, "rm", "--server", "") == [server]


def test_what_stands_in_the_line_already_is_not_offered_again(
    environ: dict[str, str], server: str
) -> None:
    assert completions(environ, "stop", server, "") == []
    assert completions(environ, "stop", "other", "") == [server]


def test_a_name_that_may_be_a_model_or_a_server_is_completed_as_either(
    environ: dict[str, str], server: str
) -> None:
    models = completions(environ, "verify", "")
    assert "capitals-demo" in models
    for command in ("inspect", "rm"):
        assert completions(environ, command, "") == [server, *models]
    assert completions(environ, "inspect", "--type", "server", "") == [server]
    assert completions(environ, "inspect", "--type", "model", "") == models


def test_servers_in_containers_are_known_by_their_labels(
    environ: dict[str, str], image: str
) -> None:
    name = "nimctl-test-completion"
    labels = (LABEL, f"{HOME_LABEL}={environ['NIMCTL_HOME']}", f"{NAME_LABEL}={name}")
    options = [word for label in labels for word in ("--label", label)]
    docker("create", "--name", name, *options, image)
    try:
        assert completions(environ, "logs", "") == [name]
        other = {**environ, "NIMCTL_HOME": f"{environ['NIMCTL_HOME']}-other"}
        assert completions(other, "logs", "") == []
    finally:
        docker("rm", name)


def test_an_engine_that_does_not_answer_is_given_up_and_the_others_are_offered(
    environ: dict[str, str], server: str, silent_engine: str
) -> None:
    silent = {**environ, "DOCKER_HOST": silent_engine}
    assert completions(silent, "stop", "") == [server]


@pytest.mark.parametrize("host", ["gopher://x", "unix:///nowhere/docker.sock", "tcp://127.0.0.1:9"])
def test_an_engine_that_cannot_be_reached_is_passed_over(
    environ: dict[str, str], server: str, host: str
) -> None:
    assert completions({**environ, "DOCKER_HOST": host}, "logs", "") == [server]


def test_flags_of_the_configuration_do_not_stand_in_the_way_nor_does_a_broken_one_speak(
    environ: dict[str, str], tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[serve]\nport = 8001\n")
    configured = {**environ, "NIMCTL_CONFIG": str(config)}
    assert completions(configured, "serve", "cap") == ["capitals-demo"]
    config.write_text("[sevre]\n")
    assert completions(configured, "serve", "cap") == []


def test_a_line_that_makes_no_sense_is_met_with_silence(environ: dict[str, str]) -> None:
    assert "nosuch" not in completions(environ, "nosuch", "")
    assert completions(environ, "list-profiles", "nosuch", "--profile", "") == []
    assert completions(environ, "stop", "--nosuch", "") == []
