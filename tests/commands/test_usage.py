"""Wrong requests: exit code 2, what is wrong, and the way out."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Run, words


def test_without_arguments_the_help_is_printed(run: Run) -> None:
    result = run()
    assert result.code == 0
    assert "serve" in result.out


def test_an_unknown_command_suggests_the_nearest(run: Run) -> None:
    result = run("list-profile")
    assert result.code == 2
    words(result, "there is no command `list-profile`", "nimctl list-profiles")


def test_an_unknown_flag_suggests_the_nearest(run: Run) -> None:
    result = run("serve", "capitals-demo", "--prot", "1")
    assert result.code == 2
    words(result, "--prot", "--port", "hint: nimctl serve --help")


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", ""])
def test_a_port_out_of_range_is_refused(run: Run, port: str) -> None:
    result = run("serve", "capitals-demo", "--port", port)
    assert result.code == 2
    words(result, "1 to 65535, or auto")


def test_a_port_in_use_is_refused_before_anything_is_fetched(
    run: Run, environ: dict[str, str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("serve", "capitals-demo", "--port", port)
    assert result.code == 2
    words(result, f"port {port} on 127.0.0.1 is in use", "--port auto")
    assert not Path(environ["NIMCTL_HOME"]).exists()


def test_an_address_of_another_machine_is_refused(run: Run) -> None:
    result = run("serve", "capitals-demo", "--host", "192.0.2.1", "--port", "auto")
    assert result.code == 2
    words(result, "cannot listen on 192.0.2.1")


def test_a_server_name_that_is_a_path_is_refused(run: Run) -> None:
    result = run("serve", "capitals-demo", "--port", "auto", "--name", "../../x")
    assert result.code == 2
    words(result, "no name for a server")


def test_an_unknown_model_names_the_nearest(run: Run) -> None:
    result = run("serve", "capital-demo")
    assert result.code == 3
    words(result, "no model `capital-demo`", "capitals-demo")


def test_an_unknown_profile_names_those_that_are_there(run: Run) -> None:
    result = run("serve", "capitals-demo", "--profile", "tensorrt_llm-h100-fp8-tp1-pp1")
    assert result.code == 3
    words(result, "no profile `tensorrt_llm-h100-fp8-tp1-pp1`", "llama_cpp-q8_0-tp1-pp1")


def test_a_gpu_that_is_required_and_not_there_is_a_hardware_error(run: Run) -> None:
    result = run("serve", "capitals-demo", "--port", "auto", "--require-gpu")
    assert result.code == 7
    words(result, "no profile of capitals-demo runs on a GPU here")


def test_an_error_is_a_json_document_with_json(run: Run) -> None:
    result = run("inspect", "nothing-here", "--json")
    assert result.code == 3
    report = json.loads(result.err)
    assert report["exit_code"] == 3
    assert report["error"]
    assert report["hint"]
    assert result.out == ""


def test_an_error_has_at_most_three_lines(run: Run) -> None:
    result = run("serve", "capital-demo")
    kinds = [line.partition(":")[0] for line in result.err.splitlines()]
    assert kinds == ["error", "cause", "hint"]


def test_debug_shows_the_traceback(run: Run) -> None:
    result = run("serve", "capital-demo", "--debug")
    assert result.code == 3
    assert "Traceback" in result.err


def test_a_flag_comes_from_the_environment_and_from_the_config_file(
    run: Run, environ: dict[str, str]
) -> None:
    result = run("serve", "capitals-demo", env={"NIMCTL_SERVE_PORT": "http"})
    assert result.code == 2
    words(result, "`http` is no port")
    config = Path(environ["HOME"]) / ".config" / "nimctl" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[serve]\nport = "xyz"\n')
    words(run("serve", "capitals-demo"), "`xyz` is no port")
    words(run("serve", "capitals-demo", env={"NIMCTL_SERVE_PORT": "abc"}), "`abc` is no port")
    words(run("serve", "capitals-demo", "-p", "def", env={"NIMCTL_SERVE_PORT": "abc"}), "`def` is")


def test_a_config_file_with_an_unknown_section_is_refused_and_help_still_works(
    run: Run, environ: dict[str, str]
) -> None:
    config = Path(environ["HOME"]) / "config.toml"
    config.write_text("[sevre]\nport = 1\n")
    env = {"NIMCTL_CONFIG": str(config)}
    result = run("ps", env=env)
    assert result.code == 2
    words(result, "`sevre`")
    config.write_text("not toml at all [")
    assert run("ps", env=env).code == 2
    assert run("serve", "--help", env=env).code == 0


def test_a_network_model_is_refused_offline(run: Run) -> None:
    result = run("pull", "hf://org/repo", "--offline")
    assert result.code == 5
    words(result, "not in the store", "--offline is given")


def test_verbose_names_every_step(run: Run) -> None:
    result = run("build-engine", "capitals-demo", "--verbose")
    assert result.code == 0
    words(result, "laying out", "building q8_0 engine", "model.safetensors")


def test_the_help_shows_the_first_commands_each_on_its_line(run: Run) -> None:
    lines = run("--help").out.splitlines()
    assert "\\b" not in "".join(lines)
    assert "    nimctl serve capitals-demo          a demo model, on any machine" in lines


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["list-profiles", "capitals-demo", "--explain"], "nimctl list-profiles --help"),
        (["pull", "hf://x"], "nimctl pull --help"),
        (["list-profiles", "capitals-demo", "--precision", "fp9"], "nimctl list-profiles --help"),
        (["--nothing"], "nimctl --help"),
    ],
)
def test_a_wrong_request_without_a_hint_of_its_own_names_the_help_of_its_command(
    run: Run, argv: list[str], hint: str
) -> None:
    result = run(*argv)
    assert result.code == 2
    assert result.err.splitlines()[-1] == f"hint: {hint}"


@pytest.mark.parametrize("shell", ["nimctl list-profiles | true", "nimctl list-profiles >&- 2>&-"])
def test_a_reader_that_has_gone_is_no_failure(shell: str, environ: dict[str, str]) -> None:
    path = f"{Path(sys.executable).parent}:{environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell}"],
        env={**environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["run", "capitals-demo", "--rm"], "nimctl serve capitals-demo"),
        (["show", "x"], "nimctl inspect x"),
        (["images"], "nimctl list"),
        (["ls"], "nimctl list"),
        (["start", "x"], "nimctl restart x"),
        (["delete", "x"], "nimctl rm x"),
        (["kill", "x"], "nimctl stop x"),
        (["help", "serve"], "nimctl serve --help"),
        (["version"], "nimctl --version"),
        (["completion", "zsh"], "_NIMCTL_COMPLETE=bash_source"),
        (["engines", "ls"], "nimctl engines"),
        (["engines", "nothing"], "nimctl engines --help"),
        (["profiles", "list"], "nimctl list-profiles"),
        (["frobnicate"], "nimctl --help"),
    ],
)
def test_a_command_of_another_tool_is_answered_by_the_one_that_is_meant(
    run: Run, argv: list[str], says: str
) -> None:
    result = run(*argv)
    assert result.code == 2
    assert result.err.splitlines()[-1].startswith(f"hint: {says}") or says in result.err
    assert len(result.err.splitlines()) == 2


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["serve", "m", "--background"], "did you mean --detach?"),
        (["ps", "--format", "json"], "did you mean --json?"),
        (["logs", "-n", "5", "x"], "did you mean --tail?"),
        (["list-profiles", "--gpus", "h100"], "did you mean --gpu?"),
        (["serve", "m", "--tensor-parallel-size", "2"], "-- --tensor-parallel-size …"),
        (["serve", "m", "--max-model-len", "x"], "'x' is no whole number"),
        (["serve", "m", "--host", "machine.json"], "--host-file"),
        (["serve", "capitals-demo", "/a:/b"], "hint: nimctl serve MODEL -- /a:/b"),
        (["stop"], "hint: nimctl ps"),
        (["logs"], "hint: nimctl ps --all"),
        (["rm"], "hint: nimctl list"),
        (["engines", "rm"], "hint: nimctl engines lists"),
        (["mirror", "capitals-demo"], "hint: nimctl mirror --help"),
        (["engines", "prune"], "hint: nimctl engines prune --help"),
        (["serve"], "hint: nimctl list-profiles"),
        (["login"], "hint: nimctl login hf"),
    ],
)
def test_what_is_unknown_or_missing_is_answered_by_the_next_step(
    run: Run, argv: list[str], says: str
) -> None:
    result = run(*argv)
    assert result.code == 2
    words(result, says)


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("org/Repo", "nimctl serve hf://org/Repo"),
        ("hf.co/org/repo", "nimctl serve hf://org/repo"),
        ("hf:org/repo", "nimctl serve hf://org/repo"),
        ("huggingface://org/repo", "nimctl serve hf://org/repo"),
        ("https://huggingface.co/org/repo", "nimctl serve hf://org/repo"),
        ("https://ollama.com/library/llama3.1", "nimctl serve ollama://llama3.1"),
        ("llama3.1:8b", "nimctl serve ollama://llama3.1:8b"),
        ("localhost:5000/a/b:1", "nimctl serve oci://localhost:5000/a/b:1"),
        ("nvidia/nemo/model:1.0", "nimctl serve ngc://nvidia/nemo/model:1.0"),
        ("nvcr.io/nim/meta/llama-3.1-8b-instruct:1.8.6", "nimctl serve llama-3.1-8b-instruct"),
        ("Capitals-Demo", "nimctl serve capitals-demo"),
        ("/srv/a model.gguf", "nimctl serve file:///srv/a%20model.gguf"),
    ],
)
def test_a_model_as_other_tools_name_it_is_answered_by_its_reference(
    run: Run, model: str, hint: str
) -> None:
    result = run("serve", model)
    assert result.code == 2
    assert f"hint: {hint}" in result.err
    assert len(result.err.splitlines()) == 2


def test_a_file_that_is_there_is_no_name_of_the_catalogue(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.gguf").touch()
    monkeypatch.chdir(tmp_path)
    result = run("serve", "model.gguf")
    assert result.code == 2
    words(result, f"hint: nimctl serve file://{tmp_path}/model.gguf")


def test_the_beginning_of_a_name_however_written_is_the_nearest(run: Run) -> None:
    words(run("pull", "llama3.1"), "near it are llama-3.1-8b-instruct")


def test_what_is_not_stored_is_looked_for_in_the_store(run: Run) -> None:
    for command in ("rm", "inspect", "verify"):
        result = run(command, "nothing-here")
        assert result.code == 3
        words(result, "no model `nothing-here`", "nimctl list")
