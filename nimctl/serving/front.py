"""All servers of one nimctl home, whether they are processes or containers."""

from nimctl.core.plan import Await, Launch, LaunchContainer
from nimctl.serving.container_servers import ContainerServers
from nimctl.serving.embedded import EmbeddedServers


class Launcher:
    """Starts servers and waits for them, each by whoever runs it."""

    def __init__(self, embedded: EmbeddedServers, containers: ContainerServers) -> None:
        self._embedded = embedded
        self._containers = containers
        self._in_containers: set[str] = set()

    def launch(self, step: Launch | LaunchContainer) -> None:
        """Start a server."""
        if isinstance(step, Launch):
            self._embedded.launch(step)
        else:
            self._in_containers.add(step.server.name)
            self._containers.launch(step)

    def wait_ready(self, step: Await) -> None:
        """Wait until a launched server answers."""
        if step.server.name in self._in_containers:
            self._containers.wait_ready(step)
        else:
            self._embedded.wait_ready(step)

    def stop_launched(self) -> None:
        """Stop what this process launched and has not let go; never a server of another."""
        self._embedded.stop_launched()
        self._containers.stop_launched()
