"""Asks a server how busy it is."""

import http.client

from nimctl.core.servers import Server
from nimctl.core.usage import Load, read_load
from nimctl.serving.health import connect
from nimctl.serving.keyfiles import authorization


def load_of(server: Server, timeout_s: float) -> Load:
    """Requests running and waiting; unknown where the server does not answer or count them."""
    if server.metrics_path is None:
        return Load()
    connection = connect(server.url, timeout_s)
    try:
        connection.request("GET", server.metrics_path, headers=authorization(server))
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return Load()
    finally:
        connection.close()
    return read_load(text) if answer.status == http.client.OK else Load()
