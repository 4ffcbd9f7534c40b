import msgspec
import pytest
from architectures import GPT_OSS_20B, LLAMA_8B
from hypothesis import given
from hypothesis import strategies as st

from nimctl.core.memory import (
    ANY_CAPACITY,
    Capacity,
    CapacityWish,
    decoding_threads,
    default_capacity,
    kv_bytes_per_token,
    memory_need,
    weights_bytes,
)

GIB = 2**30
ONE = Capacity(max_model_len=8192, max_num_seqs=1)


def test_kv_bytes_of_llama_8b_are_as_tensorrt_llm_reports_them() -> None:
    # 26.91 GiB / 220,480 tokens in ai-dynamo/dynamo's TensorRT-LLM example: 131,052 bytes.
    assert kv_bytes_per_token(LLAMA_8B) == pytest.approx(131_052, rel=0.001)


def test_weights_of_llama_8b_in_f16_are_as_nim_documents_them() -> None:
    # 15.04 GB, docs.nvidia.com/nim/large-language-models/latest/support-matrix.html
    need = memory_need(LLAMA_8B, "f16", ONE, 64 * GIB)
    assert need is not None
    assert need.weights_bytes / GIB == pytest.approx(15.04, rel=0.05)
    assert need.kv_cache_bytes == GIB


def test_an_unknown_precision_or_architecture_is_not_guessed() -> None:
    assert memory_need(LLAMA_8B, "iq2_xxs", ONE, GIB) is None
    assert memory_need(None, "f16", ONE, GIB) is None


@given(st.integers(1, 64 * GIB))
def test_the_context_that_is_said_to_fit_fits(available: int) -> None:
    need = memory_need(LLAMA_8B, "q8_0", ONE, available)
    assert need is not None
    if need.fitting_context:
        room = Capacity(max_model_len=need.fitting_context, max_num_seqs=1)
        again = memory_need(LLAMA_8B, "q8_0", room, available)
        assert again is not None
        assert again.total_bytes <= available


@given(st.integers(0, 256 * GIB), st.integers(0, 256 * GIB))
def test_more_memory_never_gives_fewer_sequences(one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert (
        default_capacity(LLAMA_8B, less, ANY_CAPACITY).max_num_seqs
        <= default_capacity(LLAMA_8B, more, ANY_CAPACITY).max_num_seqs
    )


def test_what_was_asked_for_is_not_changed() -> None:
    room = default_capacity(LLAMA_8B, GIB, CapacityWish(max_model_len=4096, max_num_seqs=16))
    assert (room.max_model_len, room.max_num_seqs) == (4096, 16)


def test_a_tiny_model_decodes_on_one_thread_and_none_takes_all_cores() -> None:
    assert decoding_threads(3 * 2**20, cores=16) == 1
    assert decoding_threads(8 * GIB, cores=16) == 15
    assert decoding_threads(None, cores=1) == 1


def test_the_experts_of_a_gguf_in_mxfp4_are_in_it_and_the_rest_in_q8_0() -> None:
    # The size of gpt-oss-20b-MXFP4.gguf in lmstudio-community/gpt-oss-20b-GGUF.
    assert weights_bytes(GPT_OSS_20B, "mxfp4") == pytest.approx(12_109_566_624, rel=0.01)


def test_layers_without_a_cache_are_not_counted() -> None:
    hybrid = msgspec.structs.replace(LLAMA_8B, attention_layers=8)
    assert kv_bytes_per_token(hybrid) == kv_bytes_per_token(LLAMA_8B) // 4
