"""Requests counted from the metrics of each server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimctl.core.usage import Load, read_load

# Lines as the servers write them; the names' sources are in the module.
VLLM = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 7.0
"""
SGLANG = 'sglang:num_running_reqs{model_name="m"} 1.0\nsglang:num_queue_reqs{model_name="m"} 0.0\n'
TRTLLM = "trtllm_num_requests_running 4\ntrtllm_num_requests_waiting 5\n"
TRITON = """nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 2
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="scheduled",version="1"} 6
"""
NIM = "num_requests_running 1.0\nnum_requests_waiting 2.0\ngpu_cache_usage_perc 0.1\n"
LLAMA = "llamacpp:requests_processing 1\nllamacpp:requests_deferred 3\n"


@pytest.mark.parametrize(
    ("text", "running", "waiting"),
    [
        (VLLM, 5, 7),
        (SGLANG, 1, 0),
        (TRTLLM, 4, 5),
        (TRITON, 6, 2),
        (NIM, 1, 2),
        (LLAMA, 1, 3),
        ("", None, None),
        ("num_requests_running NaN\n", None, None),
        ("num_requests_running_total 3\n", None, None),
        ("hello\n", None, None),
    ],
)
def test_each_server_counts_under_names_of_its_own(
    text: str, running: int | None, waiting: int | None
) -> None:
    assert read_load(text) == Load(running=running, waiting=waiting)


@given(st.text())
def test_no_text_is_too_odd(text: str) -> None:
    read_load(text)
