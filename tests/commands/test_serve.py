"""`nimctl serve`: from a name to an answer, with the real engine and the real openai client."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import gguf
import numpy as np
import openai
import pytest
from conftest import Run, steps, words
from waiting import until

from nimctl.core.layout import Layout
from nimctl.serving.process import identify, is_alive


def client(server: dict[str, str], key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server['url']}/v1", api_key=key, max_retries=0)


def serve(run: Run, *argv: str) -> dict[str, str]:
    result = run("serve", "capitals-demo", "--detach", "--port", "auto", "--json", *argv)
    assert result.code == 0, result
    server: dict[str, str] = result.json["server"]
    return server


def test_a_name_becomes_an_answer(run: Run) -> None:
    server = serve(run)
    with client(server) as openai_client:
        answer = openai_client.completions.create(
            model="capitals-demo",
            prompt="The capital of France is called",
            max_tokens=100,
            temperature=0.7,
            n=1,
            stop="string",
            frequency_penalty=0.0,
        )
        chat = openai_client.chat.completions.create(
            model="capitals-demo",
            messages=[{"role": "user", "content": "What is the capital of Japan?"}],
            temperature=0,
        )
        models = [model.id for model in openai_client.models.list()]
    assert "Paris" in answer.choices[0].text
    assert "Tokyo" in str(chat.choices[0].message.content)
    assert models == ["capitals-demo"]


def test_what_is_missing_is_pulled_and_built_and_the_second_time_nothing_is(run: Run) -> None:
    plan = run("serve", "capitals-demo", "--port", "auto", "--dry-run", "--json").json
    assert steps(plan) == ["Fetch", "Assemble", "Build", "Attach", "Launch", "Await"]
    server = serve(run)
    assert run("stop", server["name"]).code == 0
    plan = run("serve", "capitals-demo", "--port", "auto", "--dry-run", "--json").json
    assert steps(plan) == ["Assemble", "Attach", "Launch", "Await"]


def test_the_printed_commands_run_as_they_stand(
    run: Run, tmp_path: Path, environ: dict[str, str]
) -> None:
    result = run("serve", "capitals-demo", "--port", "auto", "--detach", "--dry-run")
    script = tmp_path / "plan.sh"
    # The last line only says how to see that it is ready; $! is the server.
    script.write_text(result.out + "echo $!\n")
    # A file, not a pipe: the server inherits it and would hold a pipe open.
    with (tmp_path / "out").open("wb") as out:
        subprocess.run(["bash", script], env=environ, stdout=out, stderr=out, check=True)
    pid = int((tmp_path / "out").read_text().splitlines()[-1])
    url = result.out.split("curl --fail ")[-1].removesuffix("/health\n")
    try:
        with client({"url": url}) as openai_client:

            def answers() -> bool:
                try:
                    return bool(openai_client.models.list().data)
                except openai.APIConnectionError:
                    return False
                except openai.InternalServerError:
                    return False

            until(answers)
            answer = openai_client.completions.create(
                model="capitals-demo", prompt="The capital of Italy is called", temperature=0
            )
        assert "Rome" in answer.choices[0].text
    finally:
        os.kill(pid, signal.SIGTERM)
    assert not (Path(environ["NIMCTL_HOME"]) / "blobs").exists()


def test_a_gguf_file_is_served_as_it_is(run: Run) -> None:
    built = run("build-engine", "capitals-demo", "--precision", "q8_0", "--json").json
    gguf = Path(built["directory"]) / "model.gguf"
    result = run("serve", f"file://{gguf}", "-d", "-p", "auto", "-n", "gguf", "--json")
    assert result.code == 0, result
    with client(result.json["server"]) as openai_client:
        answer = openai_client.completions.create(
            model="model", prompt="The capital of Peru is called", temperature=0
        )
    assert "Lima" in answer.choices[0].text


def test_a_pulled_model_is_served_offline(run: Run) -> None:
    run("build-engine", "capitals-demo")
    assert serve(run, "--offline")["state"] == "ready"


def test_an_api_key_is_asked_for_and_never_in_the_process_list(run: Run, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("sesame-open\n")
    server = serve(run, "--api-key-file", str(keys))
    with client(server, key="wrong") as wrong, pytest.raises(openai.AuthenticationError):
        wrong.models.list()
    with client(server, key="sesame-open") as right:
        assert right.models.list().data
    assert b"sesame-open" not in Path(f"/proc/{server['pid']}/cmdline").read_bytes()
    assert "sesame-open" not in run("inspect", server["name"]).out
    # Its requests are counted all the same: the metrics need the key as well.
    assert run("ps", "--json").json["servers"][0]["requests_running"] == 0


def test_a_server_that_others_can_reach_gets_a_key_of_its_own(run: Run, layout: Layout) -> None:
    result = run("serve", "capitals-demo", "-d", "-p", "auto", "--host", "0.0.0.0")
    assert result.code == 0, result
    words(result, "reachable from other machines")
    path = layout.server("capitals-demo") / "api-key"
    assert path.stat().st_mode & 0o777 == 0o600
    url = result.out.splitlines()[0].removesuffix("/v1")
    with client({"url": url}, key="none") as wrong, pytest.raises(openai.AuthenticationError):
        wrong.models.list()
    with client({"url": url}, key=path.read_text().strip()) as right:
        assert right.models.list().data


def test_options_reach_the_engine(run: Run, tmp_path: Path) -> None:
    template = tmp_path / "shout.jinja"
    template.write_text(
        "{% for m in messages %}The capital of {{ m.content }} is called{% endfor %}"
    )
    server = serve(
        run,
        *("--max-model-len", "256", "--max-num-seqs", "2", "--threads", "1"),
        *("--chat-template", str(template), "--embeddings"),
    )
    with client(server) as openai_client:
        chat = openai_client.chat.completions.create(
            model="x", messages=[{"role": "user", "content": "Spain"}], temperature=0
        )
        vector = openai_client.embeddings.create(model="x", input="Spain").data[0].embedding
        with pytest.raises(openai.BadRequestError):
            openai_client.completions.create(model="x", prompt="word " * 300)
    assert "Madrid" in str(chat.choices[0].message.content)
    assert len(vector) == 256


def write_adapter(path: Path) -> Path:
    """A LoRA adapter that turns the demo model's first MLP upside down."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 64.0)
    random = np.random.default_rng(1)
    writer.add_tensor("blk.0.ffn_down.weight.lora_a", random.standard_normal((4, 512), np.float32))
    writer.add_tensor("blk.0.ffn_down.weight.lora_b", random.standard_normal((256, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_lora_adapter_changes_the_answer(run: Run, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter.gguf")
    server = serve(run, "--lora", str(adapter))
    with client(server) as openai_client:
        answers = [
            openai_client.completions.create(
                model="capitals-demo",
                prompt="The capital of France is called",
                temperature=0,
                max_tokens=8,
                extra_body={"lora": [{"id": 0, "scale": scale}]},
            )
            .choices[0]
            .text
            for scale in (0.0, 1.0)
        ]
    assert answers[0] == " Paris."
    assert answers[1] != answers[0]


def test_ps_logs_inspect_stop_and_rm_see_the_server(run: Run) -> None:
    server = serve(run, "--name", "mine")
    listed = run("ps", "--json").json["servers"]
    assert [(one["name"], one["state"], one["backend"]) for one in listed] == [
        ("mine", "ready", "llama_cpp")
    ]
    assert listed[0]["uptime_s"] >= 0
    assert (listed[0]["requests_running"], listed[0]["requests_waiting"]) == (0, 0)
    assert listed[0]["memory_bytes"] > 2**20
    table = run("ps").out
    assert table.splitlines()[0].split() == [
        *("NAME", "MODEL", "BACKEND", "PROFILE", "ENDPOINT", "STATE"),
        *("GPU", "MEMORY", "REQUESTS", "UPTIME"),
    ]
    assert f"{server['url']}/v1" in table
    assert run("logs", "mine").out
    assert len(run("logs", "mine", "--tail", "1").out.splitlines()) == 1
    assert run("inspect", "mine").json["server"]["pid"] == server["pid"]
    assert run("rm", "--server", "mine").code == 2
    stopped = run("stop", "mine", "--json").json
    assert (stopped["stopped"], stopped["killed"]) == (["mine"], [])
    assert run("ps", "--json").json["servers"] == []
    assert run("ps", "--all", "--json").json["servers"][0]["state"] == "exited"
    assert run("logs", "mine").out
    assert run("rm", "mine").out == "removed server mine\n"
    assert run("logs", "mine").code == 3


def test_stop_all_stops_all(run: Run) -> None:
    serve(run, "--name", "one")
    serve(run, "--name", "two")
    assert sorted(run("stop", "--all").out.split()) == ["one", "two"]
    assert run("ps", "--json").json["servers"] == []
    assert run("stop", "--all").code == 0
    assert run("stop").code == 2
    assert run("stop", "three").code == 3


def test_a_name_is_taken_while_its_server_runs(run: Run) -> None:
    serve(run)
    result = run("serve", "capitals-demo", "-d", "-p", "auto")
    assert result.code == 2
    words(result, "runs already", "--name")
    run("stop", "--all")
    assert serve(run)["state"] == "ready"


def test_a_server_that_dies_at_start_is_reported_with_its_last_words(
    run: Run, tmp_path: Path
) -> None:
    gguf = tmp_path / "broken.gguf"
    gguf.write_bytes(b"GGUF" + b"\0" * 100)
    result = run("serve", f"file://{gguf}", "-d", "-p", "auto", "-n", "broken")
    assert result.code == 10
    words(
        result, "broken ended before it was ready (exit status 1)", "cause: ", "nimctl logs broken"
    )
    assert run("logs", "broken").out
    assert run("ps", "--json").json["servers"] == []


def test_a_server_that_is_not_ready_in_time_is_stopped(run: Run, tmp_path: Path) -> None:
    # Nobody writes to this pipe, so that the engine waits for its template for ever.
    template = tmp_path / "template.jinja"
    os.mkfifo(template)
    run("build-engine", "capitals-demo")
    result = run(
        *("serve", "capitals-demo", "-d", "-p", "auto", "--timeout", "0.5"),
        *("--chat-template", template),
    )
    assert result.code == 9
    words(result, "not ready within 0.5 seconds", "--timeout")
    assert run("ps", "--json").json["servers"] == []


def test_an_engine_argument_that_is_unknown_is_named(run: Run) -> None:
    result = run("serve", "capitals-demo", "-d", "-p", "auto", "--", "--no-such-flag")
    assert result.code == 10
    words(result, "--no-such-flag")


def test_timings_split_the_time_until_ready(run: Run) -> None:
    result = run("serve", "capitals-demo", "-d", "-p", "auto", "--timings")
    assert [line.split()[1] for line in result.err.splitlines() if "timings:" in line] == [
        *("total", "nimctl", "of", "fetch", "engine")
    ]


def foreground(environ: dict[str, str], *argv: str) -> tuple[subprocess.Popen[str], str]:
    child = subprocess.Popen(
        [sys.executable, "-m", "nimctl", "serve", "capitals-demo", "-p", "auto", *argv],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    return child, child.stdout.readline().strip()


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_in_the_foreground_a_signal_stops_the_server(
    run: Run, environ: dict[str, str], sent: signal.Signals, code: int
) -> None:
    child, url = foreground(environ)
    assert url.endswith("/v1")
    server = identify(run("ps", "--json").json["servers"][0]["pid"])
    child.send_signal(sent)
    _, err = child.communicate(timeout=60)
    assert child.returncode == code
    assert "Traceback" not in err
    assert not is_alive(server)


def test_a_foreground_server_dies_with_a_killed_nimctl(run: Run, environ: dict[str, str]) -> None:
    child, _ = foreground(environ)
    server = identify(run("ps", "--json").json["servers"][0]["pid"])
    child.kill()
    child.communicate()
    until(lambda: not is_alive(server))


def test_a_detached_server_outlives_nimctl(run: Run, environ: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nimctl", "serve", "capitals-demo", "-d", "-p", "auto", "--json"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    server = json.loads(done.stdout)["server"]
    with client(server) as openai_client:
        assert openai_client.models.list().data
    assert run("stop", "--all").code == 0


def test_ctrl_c_while_it_waits_stops_what_was_started(run: Run, environ: dict[str, str]) -> None:
    run("build-engine", "capitals-demo")
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "nimctl", "serve", "capitals-demo", "-d", "-p", "auto"),
            *("--progress", "json"),
        ],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    for line in child.stderr:
        if '"ready"' in line:
            break
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    assert child.returncode == 130
    assert run("ps", "--json").json["servers"] == []


def test_logs_follow_until_the_server_ends(run: Run, environ: dict[str, str]) -> None:
    server = serve(run)
    child = subprocess.Popen(
        [sys.executable, "-m", "nimctl", "logs", "-f", server["name"]],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    run("stop", server["name"])
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert out == run("logs", server["name"]).out


def test_a_stale_pid_is_not_taken_for_the_server(run: Run, layout: Layout) -> None:
    server = serve(run)
    run("stop", server["name"])
    state = layout.server(server["name"]) / "state.json"
    document = json.loads(state.read_text())
    document["process"]["pid"] = os.getpid()
    state.write_text(json.dumps(document))
    assert run("ps", "--all", "--json").json["servers"][0]["state"] == "exited"
    assert run("stop", server["name"]).code == 0
    assert is_alive(identify(os.getpid()))


def test_ports_are_checked_on_the_address_that_is_asked_for(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run("serve", "capitals-demo", "-p", port, "--host", "127.0.0.2").code == 2


def test_a_second_ctrl_c_kills_a_server_that_is_still_at_work(
    run: Run, environ: dict[str, str]
) -> None:
    child, url = foreground(environ, "--max-num-seqs", "1")
    server = identify(run("ps", "--json").json["servers"][0]["pid"])
    # Sixty answers as long as the context, one after the other, keep it at work for seconds.
    body = json.dumps({"prompt": ["The"] * 60, "max_tokens": -1, "ignore_eos": True}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    port = int(url.removesuffix("/v1").rpartition(":")[2])
    metrics = f"{url.removesuffix('/v1')}/metrics"
    with socket.create_connection(("127.0.0.1", port)) as busy:
        busy.sendall(head.encode() + body)
        until(lambda: b"requests_deferred 0" not in urllib.request.urlopen(metrics).read())
        child.send_signal(signal.SIGINT)
        assert child.stderr is not None
        for line in child.stderr:
            if line.startswith("stopping"):
                break
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
    assert child.returncode == 130
    assert not is_alive(server)
