"""Servers: what is known of a running model, whoever runs it."""

from nimctl.core.value import Value


class Server(Value):
    """A running model: kept as the labels of its container, or in the state of its process.

    `profile` is its name and `reason` why it was chosen. It answers at `url`, is ready when
    `health_path` gives HTTP 200, and counts requests at `metrics_path`.
    """

    name: str
    model: str
    reference: str
    profile: str
    backend: str
    url: str
    reason: str = ""
    health_path: str = "/health"
    metrics_path: str | None = "/metrics"
    api_key_file: str | None = None
