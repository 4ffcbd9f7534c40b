"""The memory of a GPU, against every figure that is documented or was measured.

Sources, by the names in brackets: [mem] https://nvidia.github.io/TensorRT-LLM/reference/memory.html;
[nim] https://docs.nvidia.com/nim/large-language-models/, support-matrix.html of 1.0.0, 1.2.0,
1.3.0 and latest; [infra] infracloud.io, "Running Llama 3 with Triton and TensorRT-LLM"; [gb10]
manavsehgal.github.io/ai-field-notes, "trtllm-and-triton-on-spark"; [box] ai-box.eu, "TensorRT-LLM
in numbers"; [4275] https://github.com/NVIDIA/TensorRT-LLM/issues/4275; [dyn] ai-dynamo/dynamo,
examples/python_rs/llm/tensorrt_llm/README.md; [otel] farbodtavakkoli/OTel, inference/tensorrtllm.
"""

import msgspec
import pytest
from architectures import (
    CODE_LLAMA_13B,
    GPT_OSS_20B,
    LLAMA_2_7B,
    LLAMA_8B,
    LLAMA_70B,
    MISTRAL_7B,
    MIXTRAL_8X7B,
    QWEN_7B,
    QWEN_600M,
)
from hypothesis import given
from hypothesis import strategies as st

from nimctl.core.architecture import Architecture, LatentAttention
from nimctl.core.memory import (
    ANY_CAPACITY,
    CapacityWish,
    GpuShare,
    Grade,
    Limits,
    MemoryNeed,
    default_limits,
    gpu_memory_need,
)
from nimctl.core.memory.gpu import activation_bytes, kv_bytes_per_token, weights_bytes

GIB = 2**30
ARCHITECTURES = (LLAMA_2_7B, LLAMA_8B, LLAMA_70B, MIXTRAL_8X7B, QWEN_7B, QWEN_600M)
# What NVML reports for cards of 80 GB, an H200 and an RTX 5090.
H100, H200, RTX_5090 = (round(gib * GIB) for gib in (79.1, 139.8, 31.84))


def share(precision: str, tp: int = 1, pp: int = 1, backend: str = "tensorrt_llm") -> GpuShare:
    return GpuShare(backend=backend, precision=precision, tp=tp, pp=pp)


def limits(batch: int, tokens: int, length: int = 8192) -> Limits:
    return Limits(max_batch_size=batch, max_num_tokens=tokens, max_seq_len=length)


def need(
    architecture: Architecture, on: GpuShare, within: Limits, memory: int, **other: int
) -> MemoryNeed:
    found = gpu_memory_need(architecture, on, within, memory, **other)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("architecture", "precision", "documented_gib", "source"),
    [
        (LLAMA_2_7B, "fp8", 6.54, "engine of 6,695 MiB [mem]"),
        (LLAMA_2_7B, "fp8", 6.57, "[nim] 1.0.0"),
        (LLAMA_2_7B, "fp16", 12.62, "[nim] 1.0.0"),
        (LLAMA_8B, "fp16", 15.04, "[nim] latest, H100"),
        (LLAMA_8B, "fp16", 15.1, "[nim] latest, A100"),
        (LLAMA_8B, "fp8", 8.5, "Llama-3-8B [nim] 24.05"),
        (LLAMA_8B, "fp8", 8.6, "[gb10]"),
        (LLAMA_8B, "int4_awq", 5.4, "[infra]"),
        (LLAMA_8B, "nvfp4", 5.7, "[gb10]"),
        (QWEN_7B, "fp8", 8.2, "[box]"),
        (CODE_LLAMA_13B, "fp16", 24.63, "TP2, both GPUs [nim] 1.2.0"),
        (CODE_LLAMA_13B, "fp16", 25.32, "TP4, all GPUs [nim] 1.2.0"),
        (MISTRAL_7B, "fp16", 14, "[nim] 1.3.0"),
        (MIXTRAL_8X7B, "fp16", 88, "[nim] 1.3.0"),
        (LLAMA_70B, "fp16", 131, "[nim] 1.3.0"),
    ],
)
def test_weights_are_within_five_percent_of_what_is_documented(
    architecture: Architecture, precision: str, documented_gib: float, source: str
) -> None:
    found = weights_bytes(architecture, share(precision))
    assert found is not None
    assert found / GIB == pytest.approx(documented_gib, rel=0.05), source


def test_one_documented_figure_stands_against_two_others() -> None:
    # [nim] latest has 9.76 for Llama-3.1-8B in fp8, 15 % above the formula and above what 24.05 and
    # [gb10] have for the same number of parameters. It is left aside here, not fitted to.
    found = weights_bytes(LLAMA_8B, share("fp8"))
    assert found is not None
    assert found / GIB < 9.76 / 1.1


@pytest.mark.parametrize(
    ("architecture", "precision", "measured", "source"),
    [
        (LLAMA_2_7B, "fp8", 63.44 * GIB / 259_840, "[mem], the model is inferred"),
        (LLAMA_8B, "fp8", 16.05 * GIB / 263_008, "[4275]"),
        (LLAMA_8B, "bf16", 26.91 * GIB / 220_480, "[dyn], the model is inferred"),
        (QWEN_600M, "bf16", 68.69 * GIB / 643_136, "[otel]"),
    ],
)
def test_the_kv_cache_of_a_token_is_within_five_percent_of_what_was_measured(
    architecture: Architecture, precision: str, measured: float, source: str
) -> None:
    found = kv_bytes_per_token(architecture, share(precision))
    assert found == pytest.approx(measured, rel=0.05), source
    # They agree to the rounding of the log lines.
    assert found == pytest.approx(measured, rel=0.001), source


def test_activations_cover_what_the_log_of_a_7b_model_adds_up_to() -> None:
    # [mem]: 1.11 GiB of execution context and 0.22 GiB of buffers.
    found = activation_bytes(LLAMA_2_7B, share("fp8"), limits(2048, 8192))
    assert found / GIB == pytest.approx(1.80, rel=0.01)


@pytest.mark.parametrize(
    ("architecture", "on", "within", "memory", "measured", "apart"),
    [
        (LLAMA_2_7B, share("fp8"), limits(2048, 8192, 4096), H100, 259_840, 0.02),  # [mem]
        (LLAMA_8B, share("fp8"), limits(2048, 1024), RTX_5090, 263_008, 0.09),  # [4275]
    ],
)
def test_the_tokens_that_fit_are_near_what_was_measured(
    architecture: Architecture,
    on: GpuShare,
    within: Limits,
    memory: int,
    measured: int,
    apart: float,
) -> None:
    assert need(architecture, on, within, memory).kv_tokens == pytest.approx(measured, rel=apart)


@pytest.mark.parametrize(
    ("architecture", "on", "memory", "tokens", "grade"),
    [
        (LLAMA_8B, share("fp8"), H100, 1_003_545, Grade.OK),
        (LLAMA_70B, share("fp8"), H200, 403_026, Grade.OK),
        (LLAMA_70B, share("fp8", tp=2), H100, 490_957, Grade.OK),
        # It runs starved: 840 tokens/s against 4,391 with TP2; and 473 against 1,922 with TP4
        # (NVIDIA/TensorRT-LLM v0.17, docs/source/performance/perf-overview.md).
        (LLAMA_70B, share("fp8"), H100, 45_003, Grade.TIGHT),
        (LLAMA_70B, share("bf16", tp=2), H100, 57_468, Grade.TIGHT),
        (LLAMA_70B, share("bf16"), H100, 0, Grade.NO_FIT),
    ],
)
def test_what_remains_for_tokens_is_graded(
    architecture: Architecture, on: GpuShare, memory: int, tokens: int, grade: Grade
) -> None:
    found = need(architecture, on, limits(256, 8192), memory)
    assert found.kv_tokens == pytest.approx(tokens, rel=0.001)
    assert found.grade is grade


def test_tensor_parallelism_replicates_kv_heads_but_divides_weights() -> None:
    one, eight, sixteen = (share("bf16", tp=tp) for tp in (1, 8, 16))
    per_token = [kv_bytes_per_token(LLAMA_8B, on) for on in (one, eight, sixteen)]
    assert per_token == [131_072, 131_072 / 8, 131_072 / 8]
    weights = [weights_bytes(LLAMA_8B, on) or 0 for on in (one, eight)]
    assert weights[1] == pytest.approx(weights[0] / 8)


def test_pipeline_parallelism_divides_layers() -> None:
    assert kv_bytes_per_token(LLAMA_8B, share("bf16", pp=2)) == 131_072 / 2


def test_latent_attention_caches_one_vector_that_is_not_divided() -> None:
    # https://huggingface.co/deepseek-ai/DeepSeek-V3/blob/main/config.json: 61 layers, 512 + 64.
    deepseek = msgspec.structs.replace(
        LLAMA_70B, layers=61, latent_attention=LatentAttention(kv_lora_rank=512, rope_dim=64)
    )
    for tp in (1, 8):
        assert kv_bytes_per_token(deepseek, share("bf16", tp=tp)) == 61 * 576 * 2


def test_layers_without_attention_cache_nothing() -> None:
    hybrid = msgspec.structs.replace(LLAMA_8B, attention_layers=4)
    assert kv_bytes_per_token(hybrid, share("bf16")) == 131_072 / 8


def test_only_tensorrt_llm_halves_the_cache_of_an_fp8_model_by_itself() -> None:
    assert kv_bytes_per_token(LLAMA_8B, share("fp8")) == 65_536
    assert kv_bytes_per_token(LLAMA_8B, share("fp8", backend="vllm")) == 131_072


@pytest.mark.parametrize(
    ("precision", "kv_cache", "per_token"),
    [
        ("fp8", "auto", 131_072),
        ("fp8", "fp8", 65_536),
        ("bf16", "fp8", 65_536),
        ("bf16", "int8", 65_536),
        ("bf16", None, 131_072),
    ],
)
def test_a_type_of_the_kv_cache_that_was_asked_for_counts(
    precision: str, kv_cache: str | None, per_token: int
) -> None:
    asked = GpuShare(backend="tensorrt_llm", precision=precision, kv_cache=kv_cache)
    assert kv_bytes_per_token(LLAMA_8B, asked) == per_token


def test_the_experts_alone_are_in_mxfp4() -> None:
    found = weights_bytes(GPT_OSS_20B, share("mxfp4"))
    assert found is not None
    experts = 24 * 32 * 3 * 2880 * 2880
    assert found == pytest.approx(experts * 0.53125 + (20_914_757_184 - experts) * 2)


def test_a_precision_of_unknown_size_is_not_guessed() -> None:
    assert gpu_memory_need(LLAMA_8B, share("int3"), limits(64, 4096), H100) is None


@pytest.mark.parametrize(
    ("gib", "tp", "batch", "tokens"),
    [(22, 1, 64, 4096), (44.4, 1, 128, 8192), (79.1, 2, 512, 8192), (139.8, 2, 512, 16384)],
)
def test_the_limits_follow_the_memory_of_a_gpu(
    gib: float, tp: int, batch: int, tokens: int
) -> None:
    found = default_limits(LLAMA_8B, round(gib * GIB), ANY_CAPACITY, tp=tp)
    assert found == limits(batch, tokens)


def test_what_was_asked_for_is_not_changed() -> None:
    wish = CapacityWish(max_model_len=65536, max_num_seqs=16)
    found = default_limits(LLAMA_8B, H100, wish)
    assert (found.max_seq_len, found.max_batch_size) == (65536, 16)


shares = st.builds(
    GpuShare,
    backend=st.sampled_from(["tensorrt_llm", "vllm"]),
    precision=st.sampled_from(["bf16", "fp8", "nvfp4", "int4_awq"]),
    tp=st.sampled_from([1, 2, 4, 8]),
    pp=st.sampled_from([1, 2]),
)
memories = st.integers(0, 200 * GIB)


@given(st.sampled_from(ARCHITECTURES), shares, st.integers(1, 131072), memories)
def test_what_is_said_to_fit_fits(
    architecture: Architecture, on: GpuShare, length: int, memory: int
) -> None:
    found = need(architecture, on, limits(64, 4096, length), memory)
    used = found.weights_bytes + found.compute_bytes + found.runtime_bytes
    assert used + found.kv_tokens * found.kv_bytes_per_token <= max(memory, used)
    assert (found.total_bytes <= memory) == (found.grade is not Grade.NO_FIT)
    if found.fitting_context:
        again = need(architecture, on, limits(64, 4096, found.fitting_context), memory)
        assert again.grade is not Grade.NO_FIT


@given(st.sampled_from(ARCHITECTURES), shares, memories, memories)
def test_more_memory_never_holds_fewer_tokens(
    architecture: Architecture, on: GpuShare, one: int, other: int
) -> None:
    less, more = sorted((one, other))
    within = limits(64, 4096)
    assert (
        need(architecture, on, within, less).kv_tokens
        <= need(architecture, on, within, more).kv_tokens
    )


def test_a_display_leaves_less_for_the_cache() -> None:
    alone = need(LLAMA_8B, share("fp8"), limits(64, 4096), H100)
    beside = need(LLAMA_8B, share("fp8"), limits(64, 4096), H100, kv_percent=85)
    assert beside.kv_tokens == pytest.approx(alone.kv_tokens * 0.85 / 0.9, rel=0.001)
