"""Replicas behind a router, under clients that go on asking."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import openai
import pytest
from conftest import words
from docker_cli import RUN, docker
from haproxy_image import REFERENCE as HAPROXY
from haproxy_image import make_haproxy_image
from router_groups import AT_ONCE, SERVE, Group, nimctl, serve, status
from streams import Clients, read_stream
from waiting import until

CLIENTS = 48
PROMPT = "The capital of France is called"
# One worker has them all: two groups of three replicas would share the machine.
pytestmark = pytest.mark.xdist_group("router")


@pytest.fixture(scope="module")
def group(groups_home: dict[str, str]) -> Iterator[Group]:
    """Three replicas of the demo model; each test leaves all three ready."""
    made = serve(groups_home, f"{RUN}-g", "--replicas", "3")
    yield made
    nimctl(groups_home, "stop", made.name)


def test_a_drained_replica_loses_no_request_and_comes_back(group: Group) -> None:
    clients = Clients(group.url, CLIENTS, requests=2, tokens=120)
    clients.begun()
    stopped = nimctl(group.environ, "stop", group.replica(2))
    assert stopped.code == 0, stopped
    streams = clients.results()
    assert [one for one in streams if one.failure] == []
    assert len(streams) == 2 * CLIENTS
    assert {one.replica for one in streams} == {group.replica(number) for number in (1, 2, 3)}
    assert group.states()[group.replica(2)] == "exited"
    assert {read_stream(group.url, 1).replica for _ in range(8)} == {
        group.replica(1),
        group.replica(3),
    }
    assert nimctl(group.environ, "restart", group.replica(2)).code == 0
    assert group.replica(2) in {read_stream(group.url, 1).replica for _ in range(12)}


def test_a_killed_replica_fails_its_own_streams_and_no_other(group: Group) -> None:
    # Streams of two lengths, so that the batch of a replica never ends at one moment.
    asking = [
        Clients(group.url, CLIENTS // 2, requests=5000, tokens=tokens) for tokens in (60, 450)
    ]
    for clients in asking:
        clients.begun()
    docker("kill", group.replica(3))
    until(lambda: not group.sends_requests_to(3))
    for clients in asking:
        clients.stop()
    streams = [stream for clients in asking for stream in clients.results()]
    failed = [one for one in streams if one.failure]
    # Each of these had begun: who answered stands in the head of an answer.
    assert {one.replica for one in failed} == {group.replica(3)}
    assert len(failed) <= AT_ONCE
    # What is asked for now is answered by the others.
    after = [read_stream(group.url, 1) for _ in range(8)]
    assert [one for one in after if one.failure or one.replica == group.replica(3)] == []
    assert nimctl(group.environ, "restart", group.replica(3)).code == 0


def test_a_replica_that_hangs_gets_no_more_requests(group: Group) -> None:
    docker("pause", group.replica(1))
    try:
        until(lambda: not group.sends_requests_to(1))
        streams = [read_stream(group.url, 1) for _ in range(8)]
    finally:
        docker("unpause", group.replica(1))
    assert [one for one in streams if one.failure or one.replica == group.replica(1)] == []
    until(lambda: group.sends_requests_to(1))


def test_an_update_replaces_each_replica_and_no_request_fails(
    group: Group, next_image: str
) -> None:
    before = {name: docker("port", name) for name in map(group.replica, (1, 2, 3))}
    clients = Clients(group.url, 6, requests=5000, tokens=100, pause_s=0.1)
    clients.begun()
    done = nimctl(
        group.environ, "update", group.name, "--image", next_image, "-e", "MARK=7", "--json"
    )
    clients.stop()
    assert [one for one in clients.results() if one.failure] == []
    assert done.code == 0, done
    assert done.json["replaced"] == [group.replica(number) for number in (1, 2, 3)]
    assert group.images() == {next_image}
    assert {name: docker("port", name) for name in before} == before
    assert "MARK=7" in docker("inspect", group.replica(1), "--format", "{{.Config.Env}}")
    label = docker("inspect", group.replica(1), "--format", "{{json .Config.Labels}}")
    request = json.loads(json.loads(label)["dev.nimctl.request"])
    assert request["environment"] == {"MARK": ""}


def test_a_replica_that_does_not_start_gives_way_to_the_old_one(group: Group) -> None:
    before = docker("inspect", group.replica(1), "--format", "{{.Id}}")
    clients = Clients(group.url, 6, requests=5000, tokens=100, pause_s=0.1)
    clients.begun()
    failed = nimctl(group.environ, "update", group.name, "-e", "PYTHONPATH=/nowhere")
    clients.stop()
    assert [one for one in clients.results() if one.failure] == []
    assert failed.code == 10
    words(failed, f"{group.replica(1)} was not replaced, and the old one serves again", "nimctl")
    kept = failed.err.rpartition("log: ")[2].strip()
    assert "No module named" in Path(kept).read_text()
    assert docker("inspect", group.replica(1), "--format", "{{.Id}}") == before
    assert set(group.states().values()) == {"ready"}


def test_what_cannot_be_updated_is_told_what_to_do(group: Group) -> None:
    one = nimctl(group.environ, "update", group.replica(1))
    assert one.code == 2
    words(one, f"is one replica of {group.name}", f"nimctl update {group.name}")
    assert nimctl(group.environ, "update", f"{group.name}-none").code == 3
    other = nimctl(group.environ, "update", group.name, "--profile", "llama_cpp-f9")
    assert other.code == 3
    words(other, "there is no profile")


def test_an_update_as_it_is_printed_replaces_each_replica_and_no_request_fails(
    group: Group, cpu_image: str
) -> None:
    before = {
        docker("inspect", group.replica(number), "--format", "{{.Id}}") for number in (1, 2, 3)
    }
    script = nimctl(
        group.environ, "update", group.name, "--image", cpu_image, "-e", "MARK=8", "--dry-run"
    ).out
    # These servers would finish by themselves what they have; of one that would not, the script
    # must have waited for the last request.
    assert script.count("docker stop ") == 3
    script = script.replace("docker stop ", "docker kill ")
    clients = Clients(group.url, 6, requests=5000, tokens=100, pause_s=0.1)
    clients.begun()
    done = subprocess.run(["sh"], input=script, capture_output=True, text=True, check=False)
    clients.stop()
    assert done.returncode == 0, done
    assert [one for one in clients.results() if one.failure] == []
    after = {
        docker("inspect", group.replica(number), "--format", "{{.Id}}") for number in (1, 2, 3)
    }
    assert before & after == set()
    assert group.images() == {cpu_image}
    # nimctl knows them as its own.
    assert set(group.states().values()) == {"ready"}
    assert docker("ps", "--all", "--quiet", "--filter", f"name={group.name}-.*old") == ""


def test_a_group_is_one_thing_to_look_at(group: Group) -> None:
    listed = nimctl(group.environ, "ps").out.splitlines()
    mine = [line.partition(" capitals-demo")[0].rstrip() for line in listed if group.name in line]
    assert mine == [group.name, *(f"  {group.replica(number)}" for number in (1, 2, 3))]
    servers = nimctl(group.environ, "ps", "--json").json["servers"]
    found = {one["name"]: one for one in servers}
    assert found[group.name]["backend"] == "router"
    assert found[group.replica(1)]["group"] == group.name
    assert found[group.replica(1)]["requests_running"] == 0
    assert found[group.name]["requests_running"] == 0
    assert nimctl(group.environ, "logs", group.replica(1)).out
    assert group.sends_requests_to(1)
    assert status(f"{group.url}/v1/health/ready") == 200
    with openai.OpenAI(base_url=f"{group.url}/v1", api_key="none", max_retries=0) as client:
        text = client.completions.create(model="capitals-demo", prompt=PROMPT, temperature=0)
        again = client.completions.create(model="capitals-demo", prompt=PROMPT, temperature=0)
    assert (text.choices[0].text, again.choices[0].text) == (" Paris.", " Paris.")
    # None is kept open to a replica, which might close it just when it is used again.
    assert [group.metric("connection_reuses_total", number) for number in (1, 2, 3)] == [0, 0, 0]


def test_stopping_a_group_finishes_its_streams_and_leaves_nothing(group: Group) -> None:
    own = serve(group.environ, f"{RUN}-s", "--replicas", "2")
    clients = Clients(own.url, 12, tokens=200)
    clients.begun()
    refused = nimctl(own.environ, "rm", "--server", own.name)
    assert refused.code == 2
    words(refused, "running", "nimctl stop")
    assert nimctl(own.environ, "stop", own.name).code == 0
    assert [one for one in clients.results() if one.failure] == []
    assert set(own.states().values()) == {"exited"}
    assert nimctl(own.environ, "restart", own.name).code == 0
    assert read_stream(own.url, 1).failure is None
    assert nimctl(own.environ, "stop", own.name).code == 0
    assert nimctl(own.environ, "rm", "--server", own.name).code == 0
    assert own.states() == {}
    assert docker("ps", "--all", "--quiet", "--filter", f"name={own.name}") == ""
    assert not (Path(own.environ["NIMCTL_HOME"]) / "routers" / own.name).exists()


def foreground(groups_home: dict[str, str], name: str, *options: str) -> "subprocess.Popen[str]":
    argv = ("serve", "capitals-demo", *SERVE, "-n", name, "--replicas", "2", *options)
    return subprocess.Popen(
        [sys.executable, "-m", "nimctl", *argv],
        env=groups_home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def running(name: str) -> list[str]:
    return docker("ps", "--filter", f"name={name}", "--format", "{{.Names}}").split()


def test_ctrl_c_stops_router_and_replicas(groups_home: dict[str, str]) -> None:
    name = f"{RUN}-f"
    with foreground(groups_home, name) as child:
        assert child.stdout is not None
        url = child.stdout.readline().strip().removesuffix("/v1")
        assert status(f"{url}/v1/health/ready") == 200
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
    assert child.returncode == 130
    assert running(name) == []
    with pytest.raises(OSError, match="refused"):
        urlopen(f"{url}/v1/health/live")


def test_ctrl_c_stops_the_router_also_when_the_engine_is_gone(
    groups_home: dict[str, str], tmp_path: Path
) -> None:
    name, socket = f"{RUN}-e", tmp_path / "engine.sock"
    config = tmp_path / "engine.cfg"
    config.write_text(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n"
        f"listen engine\n bind unix@{socket}\n server engine unix@/var/run/docker.sock\n"
    )
    with subprocess.Popen(["haproxy", "-db", "-f", config]) as engine:
        until(socket.exists)
        environ = {**groups_home, "DOCKER_HOST": f"unix://{socket}"}
        with foreground(environ, name) as child:
            assert child.stdout is not None
            url = child.stdout.readline().strip().removesuffix("/v1")
            assert status(f"{url}/v1/health/ready") == 200
            engine.kill()
            engine.wait()
            child.send_signal(signal.SIGINT)
            _, err = child.communicate(timeout=60)
    assert child.returncode == 8, err
    with pytest.raises(OSError, match="refused"):
        urlopen(f"{url}/v1/health/live")
    assert len(running(name)) == 2
    docker("rm", "--force", *running(name))


def test_ctrl_c_while_replicas_start_leaves_nothing_running(
    groups_home: dict[str, str], slow_image: str
) -> None:
    name = f"{RUN}-c"
    with foreground(groups_home, name, "--image", slow_image) as child:
        until(lambda: len(running(name)) == 2)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
    assert child.returncode == 130
    assert running(name) == []


def test_a_replica_that_fails_takes_the_others_with_it(groups_home: dict[str, str]) -> None:
    name = f"{RUN}-x"
    failed = nimctl(
        groups_home,
        *("serve", "capitals-demo", *SERVE, "-d", "-n", name, "--replicas", "2"),
        *("-e", "PYTHONPATH=/nowhere"),
    )
    assert failed.code == 10, failed
    assert running(name) == []


@pytest.fixture
def haproxy_image(docker_runs: None) -> Iterator[None]:  # noqa: ARG001 - it skips
    """The official image, or a stand-in for it."""
    there = docker("images", "--quiet", HAPROXY)
    if not there:
        make_haproxy_image()
    yield
    if not there:
        docker("rmi", "--force", HAPROXY)


def curl(*argv: str) -> str:
    done = subprocess.run(
        ["curl", "--silent", "--insecure", "--max-time", "20", *argv],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.usefixtures("haproxy_image")
def test_a_router_in_a_container_checks_keys_and_speaks_http_2(
    groups_home: dict[str, str], tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-subj", "/CN=models.example"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    both = tmp_path / "both.pem"
    both.touch(0o600)
    both.write_text(certificate.read_text() + key.read_text())
    keys = tmp_path / "keys"
    keys.write_text("first-key\nsecond-key\n")
    # What the engine starts again after a boot, it starts with its router: in a container.
    own = serve(
        groups_home,
        f"{RUN}-k",
        *("--tls-cert", both, "--api-key-file", keys, "--restart", "unless-stopped"),
    )
    assert own.url.startswith("https://")
    assert docker("inspect", own.name, "--format", "{{.Config.Image}}") == HAPROXY
    hashes = Path(groups_home["NIMCTL_HOME"]) / "routers" / own.name / "keys.sha256"
    assert "first-key" not in hashes.read_text()
    asked = json.dumps({"model": "capitals-demo", "prompt": PROMPT, "temperature": 0})
    question = ("-H", "Content-Type: application/json", "-d", asked, f"{own.url}/v1/completions")
    refused = curl("--http2", "-w", "\n%{http_code} %{http_version}", *question).splitlines()
    assert refused[-1] == "401 2"
    assert json.loads(refused[0])["error"]["code"] == "invalid_api_key"
    for one in ("first-key", "second-key"):
        allowed = curl("--http2", "-H", f"Authorization: Bearer {one}", *question)
        assert json.loads(allowed)["choices"][0]["text"] == " Paris."
    wrong = openai.OpenAI(
        base_url=f"{own.url}/v1",
        api_key="third-key",
        max_retries=0,
        http_client=openai.DefaultHttpxClient(verify=False),
    )
    with wrong, pytest.raises(openai.AuthenticationError, match="invalid api key"):
        wrong.completions.create(model="capitals-demo", prompt=PROMPT)

    def health(path: str) -> str:
        return curl("-o", "/dev/null", "-w", "%{http_code}", f"{own.url}/v1/health/{path}")

    assert (health("live"), health("ready")) == ("200", "200")
    # On loopback whoever asks may count requests.
    assert "haproxy_server_status" in curl(f"{own.url}/router/metrics")
    docker("stop", "--time", "1", own.replica(1))
    until(lambda: health("ready") == "503")
    assert health("live") == "200"
    assert nimctl(groups_home, "stop", own.name).code == 0
    assert running(own.name) == []


def test_where_others_reach_a_router_its_metrics_need_a_key(groups_home: dict[str, str]) -> None:
    own = serve(groups_home, f"{RUN}-p", "--host", "0.0.0.0", "--replicas", "2")
    key = (Path(groups_home["NIMCTL_HOME"]) / "servers" / own.name / "api-key").read_text().strip()
    metrics = ("-o", "/dev/null", "-w", "%{http_code}", f"{own.url}/router/metrics")
    assert curl(*metrics) == "401"
    assert curl("-H", f"Authorization: Bearer {key}x", *metrics) == "401"
    assert curl("-H", f"Authorization: Bearer {key}", *metrics) == "200"
    assert status(f"{own.url}/v1/health/ready") == 200
    # nimctl counts requests there, with the key.
    servers = nimctl(groups_home, "ps", "--json").json["servers"]
    found = {one["name"]: one["requests_running"] for one in servers}
    assert found[own.name] == 0
    assert nimctl(groups_home, "stop", own.name).code == 0
