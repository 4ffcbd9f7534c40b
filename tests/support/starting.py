"""Servers of stand-ins in containers: launched and awaited as `serve` does it."""

from collections.abc import Callable
from typing import Any

import pytest
from docker_cli import RUN

from nimctl.core.containers import ContainerSpec, PublishedPort
from nimctl.core.errors import NimctlError
from nimctl.core.events import Event
from nimctl.core.plan import Await, LaunchContainer
from nimctl.core.servers import Server
from nimctl.serving.container_servers import ContainerServers
from nimctl.serving.docker.engine import DockerEngine
from nimctl.serving.health import free_port


class Starting:
    """Launches stand-ins and waits for them."""

    def __init__(
        self,
        engine: DockerEngine,
        spec: Callable[..., ContainerSpec],
        home: str = f"/home/{RUN}/nimctl",
    ) -> None:
        self.home = home
        self.servers = ContainerServers(engine, self.home)
        self.events: list[Event] = []
        self._spec = spec

    def launch(
        self, *, backend: str = "nim", generate_api_key: bool = False, **fields: Any
    ) -> Server:
        port = free_port("127.0.0.1", 0)
        assert port
        ports = (PublishedPort(container=8000, host=port),)
        spec = self._spec(**{"ports": ports, "tmpfs": {"/tmp": 2**20}, **fields})
        server = Server(
            name=spec.name,
            model="llama-3.1-8b-instruct",
            reference="llama-3.1-8b-instruct",
            profile="p",
            backend=backend,
            url=f"http://127.0.0.1:{port}",
            health_path="/v1/health/ready",
            metrics_path="/v1/metrics",
            api_key_file=next((one.source for one in spec.secrets), None),
            home=self.home,
        )
        step = LaunchContainer(
            server=server, container=spec, detach=True, generate_api_key=generate_api_key
        )
        self.servers.launch(step, self.events.append)
        return server

    def wait(self, server: Server, **fields: Any) -> None:
        step = Await(**{"server": server, "timeout_s": 60, **fields})
        self.servers.wait_ready(step, self.events.append)

    def fails(self, server: Server, **fields: Any) -> NimctlError:
        with pytest.raises(NimctlError) as caught:
            self.wait(server, **fields)
        return caught.value
