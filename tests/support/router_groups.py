"""Groups of replicas behind a router, served by the real command on the real engine."""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from conftest import Result
from docker_cli import RUN, docker
from stand_in_image import add_file, busybox

AT_ONCE = 16
SERVE = ("--container", "--max-num-seqs", str(AT_ONCE), "--threads", "1", "--port", "auto")


def nimctl(environ: dict[str, str], *argv: str | Path) -> Result:
    """The command in a process of its own: what it starts outlives the test that asked for it."""
    done = subprocess.run(
        [sys.executable, "-m", "nimctl", *argv],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def status(url: str) -> int:
    try:
        with urlopen(url) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


class Group(NamedTuple):
    """A router with its replicas: NAME-1, NAME-2, ..."""

    environ: dict[str, str]
    name: str
    url: str

    def replica(self, number: int) -> str:
        return f"{self.name}-{number}"

    def images(self) -> set[str]:
        """The images of the replicas that run."""
        listed = docker("ps", "--filter", f"label=dev.nimctl.group={self.name}", "-q").split()
        return {docker("inspect", one, "--format", "{{.Config.Image}}") for one in listed}

    def containers(self) -> set[str]:
        """The ids of the replicas that run."""
        return set(docker("ps", "--filter", f"label=dev.nimctl.group={self.name}", "-q").split())

    def metric(self, name: str, number: int, **labels: str) -> float:
        """What HAProxy counts of a replica."""
        labels = {"proxy": "replicas", "server": self.replica(number), **labels}
        wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
        with urlopen(f"{self.url}/router/metrics") as answer:
            lines = answer.read().decode().splitlines()
        start = f"haproxy_server_{name}{{{wanted}}} "
        return float(next(line for line in lines if line.startswith(start)).removeprefix(start))

    def sends_requests_to(self, number: int) -> bool:
        return bool(self.metric("status", number, state="UP"))

    def states(self) -> dict[str, str]:
        servers = nimctl(self.environ, "ps", "--all", "--json").json["servers"]
        found = {one["name"]: one["state"] for one in servers}
        return {name: state for name, state in found.items() if name.startswith(self.name)}


def serve(environ: dict[str, str], name: str, *options: str | Path) -> Group:
    made = nimctl(environ, "serve", "capitals-demo", *SERVE, "-d", "-n", name, "--json", *options)
    assert made.code == 0, made
    return Group(environ, name, made.json["server"]["url"])


@pytest.fixture(scope="module")
def groups_home(
    cpu_image: str,  # noqa: ARG001 - it is made
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, str]]:
    """A home that the tests of this module share: starting replicas takes seconds."""
    # As deep as a home may be: a socket's path has 107 bytes at most.
    home = tmp_path_factory.mktemp("a-home-with-a-name-that-is-longer-than-most")
    yield {"HOME": str(home), "PATH": os.environ["PATH"], "NIMCTL_HOME": str(home / "n")}
    mine = docker("ps", "--all", "--quiet", "--filter", f"name={RUN}").split()
    if mine:
        docker("rm", "--force", *mine)


@pytest.fixture(scope="module")
def next_image(cpu_image: str) -> Iterator[str]:
    """The image under another name."""
    reference = f"nimctl/llama-cpp:{RUN}-next"
    docker("tag", cpu_image, reference)
    yield reference
    docker("rmi", reference)


@pytest.fixture
def slow_image(docker_runs: None) -> Iterator[str]:  # noqa: ARG001 - it skips
    """One whose server never gets ready."""
    reference = f"nimctl/llama-cpp:{RUN}-slow"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        add_file(tar, "bin/sh", Path(busybox()).read_bytes(), mode=0o755)
        add_file(tar, "bin/python3", b"#!/bin/sh\nsleep 600\n", mode=0o755)
    argv = ["docker", "import", "--change", "ENV PATH=/bin", "-", reference]
    subprocess.run(argv, input=buffer.getvalue(), check=True, capture_output=True)
    yield reference
    docker("rmi", "--force", reference)
