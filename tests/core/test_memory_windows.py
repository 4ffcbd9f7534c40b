"""The KV cache of models in which most layers see the last tokens only.

What vLLM does: docs/design/hybrid_kv_cache_manager.md at 1153c0c8 and
`SlidingWindowSpec.max_memory_usage_bytes` in vllm/v1/kv_cache_interface.py at 001cabc1.
"""

import msgspec
import pytest
from architectures import GEMMA_3_27B, GPT_OSS_20B, LLAMA_8B
from hypothesis import given
from hypothesis import strategies as st

from nimctl.core.architecture import Architecture, SlidingWindow
from nimctl.core.memory import GpuShare, Grade, Limits, MemoryNeed, gpu_memory_need
from nimctl.core.memory.gpu import KvCost, kv_cost

GIB = 2**30
H100 = round(79.1 * GIB)
VLLM = GpuShare(backend="vllm", precision="fp8")
# 2 * heads * dimension * 16 bits.
GEMMA_LAYER = 2 * 16 * 128 * 2
GPT_OSS = msgspec.structs.replace(GPT_OSS_20B, sliding_window=SlidingWindow(tokens=128, layers=12))


def limits(length: int, step: int = 8192) -> Limits:
    return Limits(max_batch_size=64, max_num_tokens=step, max_seq_len=length)


def need(architecture: Architecture, share: GpuShare, within: Limits, memory: int) -> MemoryNeed:
    found = gpu_memory_need(architecture, share, within, memory)
    assert found is not None
    return found


def test_groups_of_layers_are_filled_up_as_vllm_describes() -> None:
    # "Gemma-3-27b has 52 sliding window layers and 10 full attention layers": one group of the
    # latter and six of the former, the last of which has eight layers that pad it.
    cost = kv_cost(GEMMA_3_27B, VLLM, limits(131072))
    assert (cost.full, cost.windowed) == (10 * GEMMA_LAYER, 60 * GEMMA_LAYER)
    # 12 and 12 need no padding.
    equal = kv_cost(GPT_OSS, VLLM, limits(131072))
    assert equal.full == equal.windowed == 12 * 2 * 8 * 64 * 2


@pytest.mark.parametrize(("step", "length"), [(8192, 131072), (2048, 131072), (2048, 8192)])
def test_a_windowed_layer_keeps_what_vllm_reserves_for_it(step: int, length: int) -> None:
    cost = kv_cost(GEMMA_3_27B, VLLM, limits(length, step))
    block = 16
    reserved = -(-min(1024 - 1 + step, length) // block) * block + block
    in_windows = cost.of(length) - cost.full * length
    # Counted in blocks of 32, so one more of 16 at the most.
    assert 0 <= in_windows / (60 * GEMMA_LAYER) - reserved <= 2 * block


def test_long_sequences_fit_that_would_not_if_all_layers_kept_them() -> None:
    everywhere = msgspec.structs.replace(GEMMA_3_27B, sliding_window=None)
    windowed, full = (need(one, VLLM, limits(131072), H100) for one in (GEMMA_3_27B, everywhere))
    assert full.grade is Grade.NO_FIT
    assert windowed.grade is not Grade.NO_FIT
    assert windowed.kv_cache_bytes < full.kv_cache_bytes / 3
    # A sequence that is shorter than a step keeps everything, and pays for the padding.
    short = [need(one, VLLM, limits(4096), H100) for one in (GEMMA_3_27B, everywhere)]
    assert short[0].kv_cache_bytes * 62 == short[1].kv_cache_bytes * 70


@pytest.mark.parametrize("backend", ["tensorrt_llm", "sglang", "nim"])
def test_where_nothing_says_that_memory_is_freed_all_layers_count(backend: str) -> None:
    share = GpuShare(backend=backend, precision="bf16")
    everywhere = msgspec.structs.replace(GEMMA_3_27B, sliding_window=None)
    for length in (4096, 131072):
        assert need(GEMMA_3_27B, share, limits(length), 2 * H100) == need(
            everywhere, share, limits(length), 2 * H100
        )


@given(
    st.sampled_from([GEMMA_3_27B, GPT_OSS, LLAMA_8B]),
    st.sampled_from([(1, 1), (2, 1), (8, 1), (1, 2), (2, 4)]),
    st.integers(1, 131072),
    st.integers(0, 200 * GIB),
)
def test_what_is_said_to_fit_fits(
    architecture: Architecture, degrees: tuple[int, int], length: int, memory: int
) -> None:
    share = GpuShare(backend="vllm", precision="fp8", tp=degrees[0], pp=degrees[1])
    found = need(architecture, share, limits(length), memory)
    assert (found.total_bytes <= memory) == (found.grade is not Grade.NO_FIT)
    if found.fitting_context:
        again = need(architecture, share, limits(found.fitting_context), memory)
        assert again.grade is not Grade.NO_FIT
        more = limits(found.fitting_context + 256 + 32)
        if found.fitting_context + 256 + 32 < architecture.context_length:
            assert need(architecture, share, more, memory).grade is Grade.NO_FIT


@given(st.sampled_from([GEMMA_3_27B, GPT_OSS]), st.integers(1, 131072))
def test_just_what_is_needed_is_enough(architecture: Architecture, length: int) -> None:
    asked = need(architecture, VLLM, limits(length), 200 * GIB).total_bytes
    assert need(architecture, VLLM, limits(length), asked).grade is not Grade.NO_FIT
    assert need(architecture, VLLM, limits(length), asked - 2).grade is Grade.NO_FIT


@given(st.integers(0, 200 * GIB), st.integers(0, 200 * GIB), st.integers(1, 131072))
def test_more_memory_never_holds_fewer_tokens(one: int, other: int, length: int) -> None:
    less, more = (
        need(GEMMA_3_27B, VLLM, limits(length), memory).kv_tokens for memory in sorted((one, other))
    )
    assert less <= more


@given(st.builds(KvCost, st.integers(1, 9), st.integers(0, 9), st.integers(0, 99)), st.integers(0))
def test_the_longest_sequence_is_the_last_that_is_not_too_large(cost: KvCost, size: int) -> None:
    longest = cost.longest(size)
    assert cost.of(longest) <= size < cost.of(longest + 1)
