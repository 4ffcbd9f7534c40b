"""The networks of `--offline` when several ask for them, on an engine where there are none yet."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from gpu_engine import GpuEngine
from stand_in_image import make_image

from nimctl.core.containers import OFFLINE_NETWORKS, ContainerSpec
from nimctl.serving.docker.endpoints import Endpoint
from nimctl.serving.docker.engine import DockerEngine

IMAGE = "nvcr.io/nim/meta/stand-in:offline"
AT_ONCE = 4


@pytest.fixture
def own_engine(gpu_engine: GpuEngine) -> Iterator[GpuEngine]:
    make_image(IMAGE, labels={}, host=gpu_engine.url)
    yield gpu_engine
    left = gpu_engine.docker("ps", "--all", "--quiet").stdout.decode().split()
    gpu_engine.docker("rm", "--force", *left)
    gpu_engine.docker("network", "rm", *OFFLINE_NETWORKS)


def test_processes_that_make_a_network_at_one_moment_make_one(own_engine: GpuEngine) -> None:
    together = threading.Barrier(AT_ONCE)

    def start(number: int) -> None:
        with closing(DockerEngine([Endpoint(url=own_engine.url, said_by="test")])) as engine:
            engine.describe()
            for network in OFFLINE_NETWORKS:
                spec = ContainerSpec(name=f"{network}-{number}", image=IMAGE, network=network)
                together.wait()
                engine.create(spec)
                together.wait()
                # By its name, which has to mean one network.
                engine.start(spec.name)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(start, range(AT_ONCE)))
    names = own_engine.docker("network", "ls", "--format", "{{.Name}}").stdout.decode().split()
    assert sorted(name for name in names if "offline" in name) == sorted(OFFLINE_NETWORKS)
