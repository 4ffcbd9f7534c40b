"""ps, logs, stop, restart, rm and inspect of servers in containers, through the command line."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, words
from docker_cli import RUN, docker
from gpu_engine import GpuEngine
from stand_in_image import make_image
from starting import Starting
from waiting import until

from nimctl import settings
from nimctl.core.containers import ContainerSpec
from nimctl.core.servers import Server
from nimctl.serving.container_servers import ContainerServers
from nimctl.serving.docker.endpoints import endpoints
from nimctl.serving.docker.engine import DockerEngine
from nimctl.serving.health import free_port, free_ports


@pytest.fixture
def starting(
    engine: DockerEngine, spec: Callable[..., ContainerSpec], environ: dict[str, str]
) -> Iterator[Starting]:
    made = Starting(engine, spec, environ["NIMCTL_HOME"])
    yield made
    made.servers.stop_launched()


@pytest.fixture
def server(starting: Starting) -> Server:
    """A server that is ready."""
    made = starting.launch()
    starting.wait(made)
    return made


def listed(run: Run, *flags: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in run("ps", "--json", *flags).json["servers"]}


def test_ps_tells_what_a_container_does(run: Run, server: Server, image: str) -> None:
    found = listed(run)[server.name]
    assert (found["state"], found["url"], found["image"]) == ("ready", server.url, image)
    assert (found["backend"], found["profile"]) == ("nim", "p")
    assert found["container"] == docker("ps", "--quiet", "--filter", f"name={server.name}")
    assert (found["requests_running"], found["requests_waiting"]) == (0, 0)
    assert 2**14 < found["memory_bytes"] < 2**28
    assert (found["pid"], found["gpus"], found["exit_code"]) == (None, [], None)
    row = next(line for line in run("ps").out.splitlines() if line.startswith(server.name))
    assert f"{server.url}/v1" in row
    assert "ready" in row


def test_ps_counts_requests_from_the_servers_metrics(run: Run, server: Server) -> None:
    busy(server, "vllm:num_requests_running 3", "vllm:num_requests_waiting 2")
    found = listed(run)[server.name]
    assert (found["requests_running"], found["requests_waiting"]) == (3, 2)
    assert "3, 2 waiting" in run("ps").out
    busy(server, "num_requests_running 0")


def busy(server: Server, *lines: str) -> None:
    text = "".join(f"{line}\n" for line in lines)
    script = f"printf '{text}' > /tmp/metrics"
    docker("exec", server.name, "/bin/sh", "-c", script)


def test_a_server_of_another_home_is_not_shown_and_not_stopped(
    run: Run, server: Server, tmp_path: Path
) -> None:
    other = {"NIMCTL_HOME": str(tmp_path / "other")}
    assert run("ps", "--all", "--json", env=other).json["servers"] == []
    assert run("stop", "--all", env=other).code == 0
    assert run("stop", server.name, env=other).code == 3
    assert listed(run)[server.name]["state"] == "ready"


def test_logs_are_those_of_the_container(run: Run, server: Server) -> None:
    assert run("logs", server.name).out.splitlines()[:2] == ["argv: ", "listening on 8000"]
    assert len(run("logs", server.name, "--tail", "1").out.splitlines()) == 1
    assert run("logs", server.name, "--since", "1h").out
    assert run("logs", server.name, "--since", "2030-01-01T00:00:00Z").out == ""
    assert run("logs", server.name, "--json").out.splitlines()[0] == '"argv: "'
    assert run("logs", server.name, "--since", "yesterday").code == 2


def test_logs_are_followed_until_the_server_ends(run: Run, server: Server) -> None:
    threading.Timer(1, docker, ["stop", "--time", "5", server.name]).start()
    followed = run("logs", server.name, "--follow")
    assert followed.code == 0
    assert followed.out.splitlines()[-1] == "stopping"


def test_inspect_tells_the_line_that_runs_it_again(
    run: Run, server: Server, starting: Starting
) -> None:
    found = run("inspect", server.name).json
    line = found["run_line"]
    assert line.startswith(f"docker run --detach --name {server.name} ")
    assert found["server"]["profile"] == "p"
    assert run("stop", server.name).code == 0
    assert run("rm", "--server", server.name).code == 0
    assert server.name not in listed(run, "--all")
    # What somebody else started by that line is nimctl's server as well.
    subprocess.run(line, shell=True, check=True, capture_output=True)  # noqa: S602
    starting.wait(server)
    assert listed(run)[server.name]["state"] == "ready"
    assert run("inspect", server.name).json["run_line"] == line


def test_stop_waits_for_requests_in_flight(run: Run, server: Server) -> None:
    busy(server, "num_requests_running 1")

    def finish() -> None:
        while docker("logs", server.name).count("GET /v1/metrics") < 3:
            time.sleep(0.05)
        busy(server, "num_requests_running 0")

    finishing = threading.Thread(target=finish)
    finishing.start()
    stopped = run("stop", server.name, "--json").json
    finishing.join()
    assert (stopped["stopped"], stopped["killed"]) == ([server.name], [])
    lines = docker("logs", server.name).splitlines()
    assert lines.index("stopping") > [n for n, line in enumerate(lines) if "/metrics" in line][2]


def test_what_does_not_end_is_killed_and_that_is_told(run: Run, starting: Starting) -> None:
    deaf = starting.launch(
        entrypoint=("/bin/sh", "-c"), command=("trap '' TERM; exec /bin/sleep 600",), init=False
    )
    stopped = run("stop", deaf.name, "--time", "1", "--json")
    assert stopped.json["killed"] == [deaf.name]
    assert "was killed" in stopped.err
    assert listed(run, "--all")[deaf.name]["state"] == "exited"
    assert listed(run, "--all")[deaf.name]["exit_code"] == 137


def test_a_stopped_server_keeps_its_log_until_it_is_removed(run: Run, server: Server) -> None:
    assert run("rm", "--server", server.name).code == 2
    assert run("stop", server.name).out.split() == [server.name]
    assert run("stop", server.name).code == 0
    assert server.name not in listed(run)
    assert listed(run, "--all")[server.name]["state"] == "exited"
    assert run("logs", server.name, "--tail", "1").out == "stopping\n"
    assert run("rm", server.name).out == f"removed server {server.name}\n"
    assert run("logs", server.name).code == 3


def test_restart_starts_it_again_and_waits(run: Run, server: Server) -> None:
    before = listed(run)[server.name]
    restarted = run("restart", server.name, "--json").json["server"]
    assert restarted["state"] == "ready"
    assert restarted["container"] == before["container"]
    assert restarted["started"] > before["started"]
    assert run("restart", "nobody").code == 3


def test_restart_of_what_has_ended_and_fails_again(run: Run, starting: Starting) -> None:
    broken = starting.launch(environment={"STAND_IN": "exit:3", "STAND_IN_DELAY": "0.2"})
    failed = run("restart", broken.name)
    assert failed.code == 10
    assert "exit status 3" in failed.err


def test_a_server_that_does_not_answer_yet_is_starting(run: Run, starting: Starting) -> None:
    slow = starting.launch(environment={"STAND_IN": "hang"})
    assert listed(run)[slow.name]["state"] == "starting"
    docker("pause", slow.name)
    assert listed(run)[slow.name]["state"] == "paused"
    docker("unpause", slow.name)


def test_an_engine_that_does_not_answer_hides_no_embedded_server(run: Run, tmp_path: Path) -> None:
    env = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    found = run("ps", "--json", env=env)
    assert (found.code, found.json["servers"]) == (0, [])
    assert "servers in containers are not listed" in found.err
    assert run("stop", "somebody", env=env).code == 8


def test_a_restarted_engine_brings_its_servers_back_and_nimctl_knows_them(
    run: Run, tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str]
) -> None:
    directory = Path(f"/tmp/{tmp_path_factory.mktemp('e').name}-{id(run)}")
    daemon = GpuEngine(directory)
    directory.mkdir()
    daemon.start()
    try:
        env = daemon.environment
        make_image("nvcr.io/nim/meta/kept:1", labels={}, host=daemon.url)
        made = DockerEngine(endpoints(settings.load({**environ, **env}).container_engine))
        servers = ContainerServers(made, environ["NIMCTL_HOME"])
        starting = Starting(
            made,
            lambda **fields: ContainerSpec(
                **{"name": "kept", "image": "nvcr.io/nim/meta/kept:1", **fields}
            ),
            environ["NIMCTL_HOME"],
        )
        starting.launch(
            network="host", ports=(), restart="unless-stopped", environment={"STAND_IN": "hang"}
        )
        assert servers.is_running("kept")
        made.close()
        daemon.restart()
        found = {one["name"]: one for one in run("ps", "--json", env=env).json["servers"]}
        assert found["kept"]["state"] == "starting"
        assert run("stop", "kept", env=env).code == 0
        assert run("rm", "kept", env=env).code == 0
    finally:
        daemon.stop()


@pytest.fixture
def from_elsewhere(server: Server, tmp_path: Path) -> Iterator[str]:  # noqa: ARG001 - it is there
    """The engine by an address that is not loopback, as another machine has it."""
    config = "{{(index .IPAM.Config 0).Gateway}}"
    address = docker("network", "inspect", "bridge", "--format", config)
    (port,) = free_ports(1)
    door = tmp_path / "door.cfg"
    door.write_text(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n"
        f"listen engine\n bind {address}:{port}\n server engine unix@/var/run/docker.sock\n"
    )
    with subprocess.Popen(["haproxy", "-db", "-f", door]) as process:
        until(lambda: free_port(address, port) is None)
        yield f"tcp://{address}:{port}"
        process.terminate()


def test_a_server_on_another_machine_is_not_taken_for_what_answers_here(
    run: Run, environ: dict[str, str], server: Server, from_elsewhere: str
) -> None:
    busy(server, "num_requests_running 3")
    environ["DOCKER_HOST"] = from_elsewhere
    found = listed(run)[server.name]
    assert (found["state"], found["requests_running"]) == ("running", None)
    assert run("logs", server.name).out
    restarted = run("restart", server.name)
    assert restarted.code == 0, restarted
    assert f"{server.name} is on another machine" in restarted.err
    # Nothing here says what it still has to do, so that it is told to end at once.
    busy(server, "num_requests_running 3")
    assert run("stop", server.name).code == 0
    assert listed(run, "--all")[server.name]["state"] == "exited"
    assert run("rm", "--server", server.name).code == 0


def test_a_container_takes_the_name_of_an_embedded_server_that_has_ended(
    run: Run, cpu_image: str
) -> None:
    name = f"turns-{RUN}"
    serve = ("serve", "capitals-demo", "--detach", "--port", "auto", "--name", name)
    assert run(*serve).code == 0
    refused = run(*serve, "--container", "--image", cpu_image)
    assert refused.code == 2
    words(refused, f"a server named {name} runs already")
    run("stop", name)
    assert run(*serve, "--container", "--image", cpu_image).code == 0
    assert listed(run, "--all")[name]["container"]
    assert [one["name"] for one in run("ps", "--all", "--json").json["servers"]] == [name]
    run("stop", name)
    assert run("rm", "--server", name).code == 0
    assert run("ps", "--all", "--json").json["servers"] == []
