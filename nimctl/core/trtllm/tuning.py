"""The flags that an engine is tuned by.

Rules and figures: TensorRT-LLM, docs/source/legacy/performance/performance-tuning-guide, for
Llama-3.3-70B on four H100: `multiple_profiles` +19 %, `gemm_plugin` on for 16 bits and off for fp8,
an fp8 KV cache +56 %, reduce fusion with user buffers +13 % in fp8, the fused and low-latency GEMM
kernels +1 %.
"""

from nimctl.core.errors import UsageError
from nimctl.core.trtllm.subject import KvCache, Subject

_ADA = (8, 9)
_HOPPER = (9, 0)
# An int8 KV cache is refused there too (NVIDIA/TensorRT-LLM, tensorrt_llm/builder.py at 008b2b8d).
BLACKWELL_MAJOR = 10
# tensorrt_llm/builder.py at 008b2b8d, `build`: of the classes here that one alone.
FUSES_REDUCE = "LlamaForCausalLM"
_FP8_KV = ("fp8", "nvfp4", "w4a8_awq")


def kv_cache_of(subject: Subject, wish: KvCache | None) -> KvCache:
    """The type of the KV cache: 8 bits where the weights are, else the model's own.

    `trtllm-bench` forces fp8 for fp8 and nvfp4 (tensorrt_llm/bench/build/build.py).

    Raises:
        UsageError: The GPU has no fp8, or engines for it have no int8.
    """
    chosen: KvCache = wish or ("fp8" if subject.profile.precision in _FP8_KV else "auto")
    if chosen == "fp8" and _capability(subject) < _ADA:
        raise UsageError(
            f"an fp8 KV cache needs compute capability 8.9, {subject.gpus[0].name} has "
            f"{subject.gpus[0].compute_capability}",
            hint="--kv-cache-dtype auto",
        )
    if chosen == "int8" and _capability(subject)[0] == BLACKWELL_MAJOR:
        raise UsageError(
            f"engines for {subject.gpus[0].name} have no int8 KV cache",
            cause="trtllm-build refuses it on compute capability 10",
            hint="--kv-cache-dtype fp8, or auto",
        )
    return chosen


def build_flags(subject: Subject) -> dict[str, str]:
    """What `trtllm-build` is told beside directories and limits."""
    return {
        "--gemm_plugin": _gemm_plugin(subject.profile.precision),
        "--use_paged_context_fmha": "enable",
        "--multiple_profiles": "enable",
        **_fused_reduce(subject),
        **_low_latency(subject),
        "--workers": str(subject.world_size),
    }


def _gemm_plugin(precision: str | None) -> str:
    return {"fp8": "disable", "nvfp4": "nvfp4"}.get(precision or "", "auto")


def _fused_reduce(subject: Subject) -> dict[str, str]:
    # The tuning guide names Mistral and Mixtral too; the builder turns it off for them.
    if subject.profile.tp == 1 or subject.class_name != FUSES_REDUCE:
        return {}
    flags = {"--reduce_fusion": "enable"}
    if subject.profile.precision == "fp8":
        flags["--user_buffer"] = "enable"
    return flags


def _low_latency(subject: Subject) -> dict[str, str]:
    fp8_llama = subject.class_name == "LlamaForCausalLM" and subject.profile.precision == "fp8"
    if subject.profile.target != "latency" or not fp8_llama or _capability(subject) != _HOPPER:
        return {}
    return {"--gemm_swiglu_plugin": "fp8", "--low_latency_gemm_plugin": "fp8"}


def _capability(subject: Subject) -> tuple[int, int]:
    return subject.gpus[0].capability
