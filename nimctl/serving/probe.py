"""Asks a starting server until it answers, on a thread of its own: an answer may take long."""

import http.client
import json
import threading
import time
from collections.abc import Mapping
from typing import Any

from nimctl.core.plan import Await
from nimctl.core.servers import Server
from nimctl.serving.health import connect
from nimctl.serving.keyfiles import authorization

# A twentieth of the time that has passed: what a start takes longer for it is not noticed.
_POLL_SHARE = 0.05
_FASTEST_POLL_S, _SLOWEST_POLL_S = 0.01, 0.25
_ANSWER_S = 2.0
# The first token after a start may have kernels compiled first.
_TOKEN_S = 300.0
_COMPLETIONS, _CHAT = "/v1/completions", "/v1/chat/completions"
# What a server says that has no such path, or does not take such a question there.
_NOT_THIS_WAY = (400, 404, 405, 422, 501)


class Probe:
    """`ready` turns true when the server gives what the step waits for; `wake` is set then."""

    def __init__(self, step: Await, wake: threading.Event) -> None:
        self._step = step
        self._wake = wake
        self._stop = threading.Event()
        self.ready = step.until == "none"
        self._thread = threading.Thread(target=self._ask, daemon=True)
        if not self.ready:
            self._thread.start()

    def close(self) -> None:
        """Ask no more."""
        self._stop.set()

    def _ask(self) -> None:
        began = time.monotonic()
        while not self._stop.is_set():
            if self._answers():
                self.ready = True
                self._wake.set()
                return
            pause = (time.monotonic() - began) * _POLL_SHARE
            self._stop.wait(min(max(pause, _FASTEST_POLL_S), _SLOWEST_POLL_S))

    def _answers(self) -> bool:
        server = self._step.server
        if ask(server, "GET", server.health_path)[0] != http.client.OK:
            return False
        return self._step.until != "token" or gives_a_token(server)


def gives_a_token(server: Server) -> bool:
    """Whether the server completes a prompt by one token: then engine and weights work as well."""
    model = served_model(server)
    prompt = {"model": model, "prompt": "Hello", "max_tokens": 1}
    chat = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    for path, question in ((_COMPLETIONS, prompt), (_CHAT, chat)):
        status, _ = ask(server, "POST", path, question, timeout_s=_TOKEN_S)
        if status not in _NOT_THIS_WAY:
            return status == http.client.OK
    return False


def served_model(server: Server) -> str:
    """The name that the server itself gives to its model; nimctl's own if it gives none."""
    _, document = ask(server, "GET", "/v1/models")
    models = document.get("data") if isinstance(document, dict) else None
    first = models[0] if isinstance(models, list) and models else None
    name = first.get("id") if isinstance(first, dict) else None
    return name if isinstance(name, str) else server.model


def ask(
    server: Server,
    method: str,
    path: str,
    question: Mapping[str, Any] | None = None,
    *,
    timeout_s: float = _ANSWER_S,
) -> tuple[int | None, Any]:
    """Status and JSON document of an answer; None for what did not come."""
    headers = {"Content-Type": "application/json", **authorization(server)}
    connection = connect(server.url, timeout_s)
    try:
        body = json.dumps(question) if question is not None else None
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException):
        return None, None
    finally:
        connection.close()
    try:
        return answer.status, json.loads(text)
    except ValueError:
        return answer.status, None
