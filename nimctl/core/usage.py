"""How busy a server is, from the text of its metrics endpoint (Prometheus exposition format)."""

import re
from collections.abc import Iterable

from nimctl.core.value import Value


class Load(Value):
    """Requests that a server works on, and those that wait; None where it does not say."""

    running: int | None = None
    waiting: int | None = None


# Gauges for running and for waiting requests, the first that is there counts. Sources:
# kubernetes-sigs/gateway-api-inference-extension, docs/proposals/003-model-server-protocol, and
# for NIM https://docs.nvidia.com/nim/large-language-models/latest/observability.html; llama.cpp's
# stand in tools/server/server-context.cpp.
_RUNNING = (
    "vllm:num_requests_running",
    "sglang:num_running_reqs",
    "trtllm_num_requests_running",
    'nv_trt_llm_request_metrics{request_type="scheduled"}',
    "num_requests_running",
    "llamacpp:requests_processing",
    'haproxy_backend_current_sessions{proxy="replicas"}',
)
_WAITING = (
    "vllm:num_requests_waiting",
    "sglang:num_queue_reqs",
    "trtllm_num_requests_waiting",
    'nv_trt_llm_request_metrics{request_type="waiting"}',
    "num_requests_waiting",
    "llamacpp:requests_deferred",
    'haproxy_backend_current_queue{proxy="replicas"}',
)
_SAMPLE = re.compile(r"(?P<name>[A-Za-z_:][\w:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)")


def read_load(text: str) -> Load:
    """The load of whatever server wrote this text; samples of several ranks are added up."""
    samples = [match for match in map(_SAMPLE.match, text.splitlines()) if match]
    return Load(running=_first(_RUNNING, samples), waiting=_first(_WAITING, samples))


def _first(names: Iterable[str], samples: list[re.Match[str]]) -> int | None:
    for wanted in names:
        name, _, labels = wanted.rstrip("}").partition("{")
        values = [
            _number(one["value"])
            for one in samples
            if one["name"] == name and labels in (one["labels"] or "")
        ]
        known = [value for value in values if value is not None]
        if known:
            return round(sum(known))
    return None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
