"""Ways to an engine, and what is wrong when there is none: sockets, TCP with TLS, ssh, contexts."""

import json
import os
import re
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from conftest import Run
from docker_cli import docker

from nimctl import settings
from nimctl.core.containers import OFFLINE_EXPOSED, ContainerSpec, Devices, EngineAccess
from nimctl.core.errors import (
    ContainerEngineError,
    NoContainerEngineError,
    ServerDiedError,
    UsageError,
)
from nimctl.core.machine import ContainerEngine
from nimctl.core.plan import Launch
from nimctl.core.router import ROUTER
from nimctl.core.servers import Server
from nimctl.serving.docker.connection import connect
from nimctl.serving.docker.endpoints import Endpoint, cdi_gpus, endpoints, require_one
from nimctl.serving.docker.engine import DockerEngine
from nimctl.serving.health import free_ports
from nimctl.tools import Tools

SOCKET = "/var/run/docker.sock"


def described(environ: Mapping[str, str]) -> ContainerEngine:
    access = settings.load(environ).container_engine
    with closing(connect(endpoints(access))) as connection:
        return connection.describe()


def refused(environ: Mapping[str, str]) -> ContainerEngineError:
    with pytest.raises(ContainerEngineError) as caught:
        described(environ)
    assert caught.value.exit_code == 8
    assert caught.value.hint
    return caught.value


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, cert.pem and key.pem of a client, server.pem of a server on loopback."""
    directory = tmp_path_factory.mktemp("certificates")

    def openssl(*argv: str) -> None:
        subprocess.run(["openssl", *argv], cwd=directory, check=True, capture_output=True)

    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(*new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    for name, usage in (("server", "serverAuth"), ("client", "clientAuth")):
        extensions = f"subjectAltName=IP:127.0.0.1\nextendedKeyUsage={usage}\n"
        (directory / f"{name}.ext").write_text(extensions)
        request = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        openssl(*request, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signing = ("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key")
        openssl(*signing, "-out", f"{name}.crt", "-days", "2", "-extfile", f"{name}.ext")
    (directory / "server.pem").write_bytes(
        (directory / "server.crt").read_bytes() + (directory / "server.key").read_bytes()
    )
    shutil.copy(directory / "client.crt", directory / "cert.pem")
    shutil.copy(directory / "client.key", directory / "key.pem")
    return directory


@pytest.fixture
def front(
    docker_runs: None,  # noqa: ARG001 - it skips
    certificates: Path,
    tmp_path: Path,
) -> Iterator[tuple[int, int]]:
    """Ports of HAProxy before the engine's socket: plain, and with TLS that wants a certificate."""
    plain, tls = free_ports(2)
    config = tmp_path / "front.cfg"
    config.write_text(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n"
        f"listen plain\n bind 127.0.0.1:{plain}\n server engine unix@{SOCKET}\n"
        f"listen tls\n bind 127.0.0.1:{tls} ssl crt {certificates}/server.pem "
        f"ca-file {certificates}/ca.pem verify required\n server engine unix@{SOCKET}\n"
    )
    process = subprocess.Popen(["haproxy", "-f", str(config), "-db"])
    try:
        until_it_listens(tls, process)
        yield plain, tls
    finally:
        process.kill()
        process.wait()


def until_it_listens(port: int, process: "subprocess.Popen[bytes]") -> None:
    while True:
        assert process.poll() is None
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)


def test_the_engine_is_found_where_it_is_usually(
    environ: dict[str, str],
    docker_runs: None,  # noqa: ARG001 - it skips
) -> None:
    assert described(environ).endpoint == f"unix://{SOCKET}"


@pytest.mark.parametrize("form", ["tcp://127.0.0.1:{}", "127.0.0.1:{}"])
def test_an_engine_behind_tcp(environ: dict[str, str], front: tuple[int, int], form: str) -> None:
    found = described({**environ, "DOCKER_HOST": form.format(front[0])})
    assert found.endpoint == f"tcp://127.0.0.1:{front[0]}"
    assert found.version == docker("version", "--format", "{{.Server.Version}}")


def test_an_engine_behind_tls_with_a_certificate_of_ones_own(
    environ: dict[str, str], front: tuple[int, int], certificates: Path, tmp_path: Path
) -> None:
    secure = {
        **environ,
        "DOCKER_HOST": f"tcp://127.0.0.1:{front[1]}",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(certificates),
    }
    assert described(secure).endpoint == f"tcp://127.0.0.1:{front[1]}"
    # Neither without a certificate, nor with that of another authority, nor without TLS.
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(certificates / "ca.pem", bare)
    assert "answer" in refused({**secure, "DOCKER_CERT_PATH": str(bare)}).message
    shutil.copy(certificates / "server.crt", bare / "ca.pem")
    assert "answer" in refused({**secure, "DOCKER_CERT_PATH": str(bare)}).message
    (bare / "ca.pem").unlink()
    assert "ca.pem" in refused({**secure, "DOCKER_CERT_PATH": str(bare)}).message
    plain = {name: value for name, value in secure.items() if name != "DOCKER_TLS_VERIFY"}
    assert "answer" in refused(plain).message


def test_a_context_as_docker_keeps_it(
    environ: dict[str, str], front: tuple[int, int], certificates: Path
) -> None:
    config = Path(environ["HOME"]) / ".docker"
    files = (
        f"{what}={certificates}/{name}.pem"
        for what, name in (("ca", "ca"), ("cert", "cert"), ("key", "key"))
    )
    secure = ",".join((f"host=tcp://127.0.0.1:{front[1]}", *files))
    docker("--config", str(config), "context", "create", "far", "--docker", secure)
    plain = f"host=tcp://127.0.0.1:{front[0]}"
    docker("--config", str(config), "context", "create", "near", "--docker", plain)
    assert described(environ).endpoint == f"unix://{SOCKET}"
    assert described({**environ, "DOCKER_CONTEXT": "near"}).endpoint.endswith(str(front[0]))
    docker("--config", str(config), "context", "use", "far")
    assert described(environ).endpoint == f"tcp://127.0.0.1:{front[1]}"
    assert described({**environ, "DOCKER_CONTEXT": "default"}).endpoint == f"unix://{SOCKET}"
    unix = {**environ, "DOCKER_HOST": f"unix://{SOCKET}"}
    assert described(unix).endpoint == f"unix://{SOCKET}"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"DOCKER_HOST": "gopher://x"}, "no address of a container engine"),
        ({"DOCKER_HOST": "unix://"}, "no address of a container engine"),
        ({"DOCKER_CONTEXT": "nowhere"}, "no Docker context `nowhere`"),
    ],
)
def test_what_cannot_be_an_engine_is_the_users_mistake(
    environ: dict[str, str], variables: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        described({**environ, **variables})


@pytest.mark.parametrize("text", ["{", '{"currentContext": 1}'])
def test_a_broken_configuration_of_docker_is_named(environ: dict[str, str], text: str) -> None:
    config = Path(environ["HOME"]) / ".docker" / "config.json"
    config.parent.mkdir()
    config.write_text(text)
    with pytest.raises(UsageError, match=r"config\.json"):
        described(environ)


def test_podmans_variable_counts_where_dockers_do_not() -> None:
    home = {"HOME": "/home/ann", "CONTAINER_HOST": "unix:///run/podman.sock"}
    assert settings.load(home).container_engine.host == "unix:///run/podman.sock"
    assert settings.load({**home, "DOCKER_HOST": "tcp://x:1"}).container_engine.host == "tcp://x:1"
    assert settings.load({**home, "DOCKER_CONTEXT": "x"}).container_engine.host is None


def test_a_socket_of_nobody(environ: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
    failure = refused({**environ, "DOCKER_HOST": f"unix://{path}"})
    assert "does not answer" in failure.message
    assert failure.hint == "systemctl start docker"


def test_a_socket_that_was_named_and_is_not_there(environ: dict[str, str], tmp_path: Path) -> None:
    failure = refused({**environ, "DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    assert not isinstance(failure, NoContainerEngineError)
    assert f"{tmp_path}/none.sock" in failure.message


def test_a_port_that_nobody_listens_on(environ: dict[str, str]) -> None:
    failure = refused({**environ, "DOCKER_HOST": f"tcp://127.0.0.1:{free_ports(1)[0]}"})
    assert "does not answer" in failure.message
    assert "DOCKER_HOST" in (failure.hint or "")


def test_a_user_who_may_not_use_the_socket(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    path = tmp_path / "private.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        path.chmod(0o600)
        for parent in path.parents[:3]:
            parent.chmod(0o755)
        os.seteuid(65534)
        try:
            with pytest.raises(ContainerEngineError) as caught:
                connect([Endpoint(url=f"unix://{path}")])
        finally:
            os.seteuid(0)
    assert "may not use" in caught.value.message
    assert "usermod -aG docker" in (caught.value.hint or "")


def test_a_machine_without_an_engine(tmp_path: Path) -> None:
    nowhere = endpoints(EngineAccess(sockets=(f"{tmp_path}/a", f"{tmp_path}/b")))
    with pytest.raises(NoContainerEngineError):
        require_one(nowhere)
    with pytest.raises(NoContainerEngineError) as caught:
        connect(nowhere)
    assert "install" in (caught.value.hint or "")


def test_without_an_engine_servers_are_listed_and_the_sdk_stays_away(
    environ: dict[str, str], tmp_path: Path
) -> None:
    code = """
import sys, msgspec
from nimctl import settings
from nimctl.core.containers import OFFLINE_EXPOSED, ContainerSpec, Devices, EngineAccess
from nimctl.tools import Tools
found = msgspec.structs.replace(
    settings.load(), container_engine=EngineAccess(sockets=(sys.argv[1],)))
with Tools(found) as tools:
    print([*tools.servers.all()], tools.servers.running(), tools.servers.trouble,
          "docker" in sys.modules)
"""
    argv = [sys.executable, "-c", code, f"{tmp_path}/none.sock"]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "[] {} None False\n"


def test_an_engine_that_answers_goes_before_one_that_does_not(tmp_path: Path) -> None:
    dead = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(dead))
    tried = EngineAccess(sockets=(f"{tmp_path}/none.sock", str(dead), SOCKET))
    with closing(connect(endpoints(tried))) as connection:
        assert connection.endpoint.url == f"unix://{SOCKET}"


class _Api(BaseHTTPRequestHandler):
    """Answers like an engine: the documents by path, whatever the version before it.

    A path without a query stands for any query, and a status for a refusal.
    """

    def do_GET(self) -> None:
        documents: dict[str, Any] = self.server.documents  # type: ignore[attr-defined]
        path = re.sub(r"^/v[\d.]+", "", self.path)
        found = documents.get(path, documents.get(path.partition("?")[0], HTTPStatus.NOT_FOUND))
        status = found if isinstance(found, HTTPStatus) else HTTPStatus.OK
        shown = {"message": found.phrase} if isinstance(found, HTTPStatus) else found
        body = shown if isinstance(shown, bytes) else json.dumps(shown).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def address_string(self) -> str:
        return "unix"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The URL of a stand-in for engines that this machine does not have, and its documents."""
    path = tmp_path / "api.sock"
    documents: dict[str, Any] = {}
    with socketserver.ThreadingUnixStreamServer(str(path), _Api) as server:
        server.daemon_threads = True
        server.documents = documents  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"unix://{path}", documents
        server.shutdown()
        thread.join()


# Fields of https://docs.docker.com/reference/api/engine/version/v1.50/#tag/System and of Podman's
# compatible API, https://docs.podman.io/en/latest/_static/api.html#tag/system-(compat).
DOCKER = {
    "Version": "28.2.2",
    "ApiVersion": "1.50",
    "Arch": "arm64",
    "Components": [{"Name": "Engine"}],
}
PODMAN = {
    "Version": "5.4.0",
    "ApiVersion": "1.41",
    "Arch": "amd64",
    "Components": [{"Name": "Podman Engine"}],
}


def test_an_engine_tells_of_its_gpus(
    environ: dict[str, str], api: tuple[str, dict[str, Any]]
) -> None:
    url, documents = api
    documents["/version"] = DOCKER
    documents["/info"] = {
        "Runtimes": {"nvidia": {}, "runc": {}},
        "SecurityOptions": ["name=seccomp", "name=rootless"],
        "DiscoveredDevices": [
            {"Source": "cdi", "ID": "nvidia.com/gpu=GPU-1"},
            {"Source": "cdi", "ID": "vendor.com/nic=0"},
            {"Source": "cdi", "ID": "nvidia.com/gpu=0"},
        ],
    }
    assert described({**environ, "DOCKER_HOST": url}) == ContainerEngine(
        kind="docker",
        version="28.2.2",
        endpoint=url,
        architecture="arm64",
        rootless=True,
        nvidia_runtime=True,
        cdi_gpus=("nvidia.com/gpu=0", "nvidia.com/gpu=GPU-1"),
    )


def test_podman_is_told_apart(environ: dict[str, str], api: tuple[str, dict[str, Any]]) -> None:
    url, documents = api
    documents |= {"/version": PODMAN, "/info": {"Runtimes": {}, "SecurityOptions": []}}
    found = described({**environ, "DOCKER_HOST": url})
    assert (found.kind, found.version, found.architecture) == ("podman", "5.4.0", "amd64")


def test_an_engine_that_is_too_old(
    environ: dict[str, str], api: tuple[str, dict[str, Any]]
) -> None:
    url, documents = api
    documents["/version"] = {"Version": "18.09.1", "ApiVersion": "1.39"}
    failure = refused({**environ, "DOCKER_HOST": url})
    assert "too old" in failure.message
    assert "18.09.1" in (failure.cause or "")


def test_an_engine_that_forgets_the_gpus_it_was_asked_for_is_found_out(
    environ: dict[str, str], api: tuple[str, dict[str, Any]]
) -> None:
    url, documents = api
    documents |= {
        "/version": PODMAN,
        "/info": {},
        "/containers/create?name=x": {"Id": "abc"},
        "/containers/abc/json": {"HostConfig": {"Devices": [], "DeviceRequests": None}},
        "/containers/abc?v=True&link=False&force=True": {},
    }
    engine = DockerEngine(
        endpoints(settings.load({**environ, "DOCKER_HOST": url}).container_engine)
    )
    spec = ContainerSpec(name="x", image="i", devices=Devices(uuids=("0",), method="cdi"))
    with closing(engine), pytest.raises(ContainerEngineError, match=r"5\.4\.0 gave x no GPU"):
        engine.create(spec)


def test_an_engine_whose_network_has_a_way_out_serves_nobody_offline(
    environ: dict[str, str], api: tuple[str, dict[str, Any]]
) -> None:
    url, documents = api
    # What Podman 4.3 makes of the network: without the option that it was asked for.
    made = {"Name": OFFLINE_EXPOSED, "Options": {"isolate": "true"}}
    documents |= {"/version": PODMAN, "/info": {}, "/networks": [made]}
    engine = DockerEngine(
        endpoints(settings.load({**environ, "DOCKER_HOST": url}).container_engine)
    )
    spec = ContainerSpec(name="x", image="i", network=OFFLINE_EXPOSED)
    with closing(engine), pytest.raises(ContainerEngineError, match="off the network"):
        engine.create(spec)


@pytest.fixture
def silent(
    environ: dict[str, str], api: tuple[str, dict[str, Any]]
) -> Iterator[tuple[Tools, dict[str, Any]]]:
    """The tools beside an engine that does not tell which containers there are; its documents."""
    url, documents = api
    documents |= {"/version": DOCKER, "/containers/json": HTTPStatus.INTERNAL_SERVER_ERROR}
    environ["DOCKER_HOST"] = url
    with Tools(settings.load(environ)) as tools:
        yield tools, documents
        # Those that are still there would outlive the test.
        for name in tools.embedded_servers.running():
            tools.embedded_servers.stop(name, 0)
        tools.embedded_servers.let_go()


def launch(tools: Tools, name: str, *argv: str) -> None:
    """A process that is taken for a server; called like its backend."""
    server = Server(
        name=name, model="m", reference="m", profile="p", backend=name, url="http://127.0.0.1:1"
    )
    tools.embedded_servers.launch(Launch(server=server, argv=argv, detach=True))


def test_replicas_are_not_forgotten_while_the_engine_does_not_tell_of_them(
    silent: tuple[Tools, dict[str, Any]], run: Run
) -> None:
    for backend in (ROUTER, "llama_cpp"):
        launch(silent[0], backend, "true")
        silent[0].embedded_servers.wait(backend)
    failed = run("rm", "--server", ROUTER)
    assert failed.code == 8
    assert "listing containers" in failed.err
    assert run("rm", "--server", "llama_cpp").code == 0
    stopped = run("stop", "--all")
    assert (stopped.code, stopped.out) == (0, "")
    assert "servers in containers could not be asked" in stopped.err


@pytest.mark.parametrize("words", [("stop",), ("stop", "--time", "0"), ("restart",)])
def test_a_router_runs_on_when_its_replicas_cannot_be_told(
    silent: tuple[Tools, dict[str, Any]], run: Run, words: tuple[str, ...]
) -> None:
    tools, documents = silent
    launch(tools, ROUTER, "sleep", "600")
    started = tools.embedded_servers.find(ROUTER).started
    failed = run(*words, ROUTER)
    assert failed.code == 8, failed
    assert "listing containers" in failed.err
    now = tools.embedded_servers.find(ROUTER)
    assert (now.state != "exited", now.started) == (True, started)
    documents["/containers/json"] = []
    assert run("stop", ROUTER).code == 0
    assert not tools.embedded_servers.is_running(ROUTER)


def test_that_the_router_died_is_told_whatever_the_engine_does(
    silent: tuple[Tools, dict[str, Any]],
) -> None:
    launch(silent[0], ROUTER, "sh", "-c", "echo no memory; exit 3")
    with pytest.raises(ServerDiedError, match="exit status 3") as died:
        silent[0].groups.wait(ROUTER)
    # Nothing could end what is behind it.
    assert (died.value.hint or "").startswith("its replicas may run on (listing containers: ")


def test_an_engine_that_answers_again_is_in_no_trouble(
    silent: tuple[Tools, dict[str, Any]],
) -> None:
    tools, documents = silent
    launch(tools, ROUTER, "sleep", "600")
    assert tools.servers.names() == [ROUTER]
    assert tools.servers.trouble
    documents["/containers/json"] = []
    assert tools.groups.members(ROUTER) == []
    assert tools.servers.trouble is None


@pytest.mark.parametrize("answer", [b"hello", b"[]", b"{}", None])
def test_something_else_on_the_socket(
    environ: dict[str, str], api: tuple[str, dict[str, Any]], answer: bytes | None
) -> None:
    url, documents = api
    documents |= {"/version": answer} if answer is not None else {}
    assert "container engine" in refused({**environ, "DOCKER_HOST": url}).message


# As `nvidia-ctk cdi generate` writes them, shortened; the format is that of CDI's SPEC.md.
YAML_SPEC = """cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
- name: GPU-5a0e
  containerEdits: {}
- name: all
"""
JSON_SPEC = (
    '{"cdiVersion":"0.5.0","kind":"nvidia.com/gpu","devices":[{"name":"1"},{"name":"MIG-2"}]}'
)


def test_gpus_are_read_from_cdi_specifications(tmp_path: Path) -> None:
    (tmp_path / "nvidia.yaml").write_text(YAML_SPEC)
    (tmp_path / "nvidia.json").write_text(JSON_SPEC)
    (tmp_path / "other.yaml").write_text(YAML_SPEC.replace("nvidia.com/gpu", "vendor.com/nic"))
    (tmp_path / "notes.txt").write_text(YAML_SPEC)
    found = {name.partition("=")[2] for name in cdi_gpus((tmp_path, tmp_path / "none"))}
    assert found == {"0", "1", "GPU-5a0e", "MIG-2", "all"}


class Sshd:
    """OpenSSH's server on loopback, for the user who runs the tests."""

    def __init__(self, directory: Path) -> None:
        program = shutil.which("sshd", path="/usr/sbin:/usr/bin")
        if program is None or os.geteuid() != 0:
            pytest.skip("apt-get install openssh-server, as root")
        self.directory = directory
        self.port = free_ports(1)[0]
        for name in ("host", "user"):
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
            subprocess.run(argv, check=True)
        (directory / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {directory}/host\n"
            f"AuthorizedKeysFile {directory}/user.pub\nStrictModes no\nUsePAM no\n"
            f"PidFile {directory}/pid\n"
        )
        # What users have in ~/.ssh/config; ssh looks for that in the home of the password file.
        (directory / "ssh_config").write_text(
            f"Host engine\n HostName 127.0.0.1\n Port {self.port}\n User root\n"
            f" IdentityFile {directory}/user\n IdentitiesOnly yes\n"
            f" UserKnownHostsFile {directory}/known\n StrictHostKeyChecking accept-new\n"
        )
        wrapper = directory / "bin" / "ssh"
        wrapper.parent.mkdir()
        wrapper.write_text(
            f'#!/bin/sh\nexec {shutil.which("ssh")} -F {directory}/ssh_config "$@"\n'
        )
        wrapper.chmod(0o755)
        Path("/run/sshd").mkdir(exist_ok=True)
        config = ["-f", str(directory / "sshd_config")]
        self._process = subprocess.Popen([program, "-D", *config], stderr=subprocess.DEVNULL)
        until_it_listens(self.port, self._process)

    def describe(self, environ: Mapping[str, str], host: str) -> "subprocess.CompletedProcess[str]":
        code = """
from nimctl import settings
from nimctl.core.errors import ContainerEngineError
from nimctl.tools import Tools
with Tools(settings.load()) as tools:
    try:
        print(tools.containers.describe().version)
    except ContainerEngineError as error:
        print(error.message, error.cause, error.hint, sep="|")
"""
        path = f"{self.directory / 'bin'}:{environ['PATH']}"
        argv = [sys.executable, "-W", "error", "-c", code]
        env = {**environ, "PATH": path, "DOCKER_HOST": host}
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=True)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    with closing(Sshd(tmp_path)) as running:
        yield running


def test_an_engine_behind_ssh_as_the_users_own_configuration_says(
    environ: dict[str, str],
    sshd: Sshd,
    docker_runs: None,  # noqa: ARG001 - it skips
) -> None:
    version = docker("version", "--format", "{{.Server.Version}}")
    assert sshd.describe(environ, "ssh://engine").stdout.strip() == version
    assert sshd.describe(environ, f"ssh://root@engine{SOCKET}").stdout.strip() == version
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert f"{sshd.directory}/ssh_config" not in listed.stdout


def test_why_ssh_does_not_get_there_is_told_in_its_words(
    environ: dict[str, str], sshd: Sshd
) -> None:
    (sshd.directory / "user").unlink()
    message, cause, hint = sshd.describe(environ, "ssh://engine").stdout.strip().split("|")
    assert message == "the container engine at ssh://engine cannot be reached"
    assert "Permission denied" in cause
    assert hint == "ssh engine docker version"


def test_an_engine_that_is_not_there_behind_ssh(environ: dict[str, str], sshd: Sshd) -> None:
    told = sshd.describe(environ, "ssh://engine/run/no-such.sock").stdout
    assert "ssh://engine/run/no-such.sock" in told
