"""The flags that an engine is tuned by.

Rules and figures: TensorRT-LLM, docs/source/legacy/performance/performance-tuning-guide, for
Llama-3.3-70B on four H100: `multiple_profiles` +19 %, `gemm_plugin` on for 16 bits and off for fp8,
an fp8 KV cache +56 %, reduce fusion with user buffers +13 % in fp8, the fused and low-latency GEMM
kernels +1 %.
"""

from collections.abc import Iterator, Mapping

from nimctl.core.errors import UsageError
from nimctl.core.trtllm.families import family_of
from nimctl.core.trtllm.subject import KvCache, Subject

_ADA = (8, 9)
_HOPPER = (9, 0)
# An int8 KV cache is refused there too (NVIDIA/TensorRT-LLM, tensorrt_llm/builder.py at 008b2b8d).
_BLACKWELL_MAJOR = 10
_FP8_KV = ("fp8", "nvfp4", "w4a8_awq")
# "On SM 100 these raise NotImplementedError": tensorrt_llm/commands/build.py, tensorrt_llm/plugin.
_NOT_ON_SM100 = (
    "--gemm_swiglu_plugin",
    "--fp8_rowwise_gemm_plugin",
    "--low_latency_gemm_plugin",
    "--low_latency_gemm_swiglu_plugin",
    "--bert_context_fmha_fp32_acc",
)


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
    if chosen == "int8" and _capability(subject)[0] == _BLACKWELL_MAJOR:
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
    family = family_of(subject.class_name)
    if subject.profile.tp == 1 or family is None or not family.fuses_reduce:
        return {}
    flags = {"--reduce_fusion": "enable"}
    if subject.class_name == "LlamaForCausalLM" and subject.profile.precision == "fp8":
        flags["--user_buffer"] = "enable"
    return flags


def _low_latency(subject: Subject) -> dict[str, str]:
    fp8_llama = subject.class_name == "LlamaForCausalLM" and subject.profile.precision == "fp8"
    if subject.profile.target != "latency" or not fp8_llama or _capability(subject) != _HOPPER:
        return {}
    return {"--gemm_swiglu_plugin": "fp8", "--low_latency_gemm_plugin": "fp8"}


def check_flags(subject: Subject, flags: Mapping[str, str]) -> None:
    """Refuse combinations that the builder asserts on, minutes into its work.

    Raises:
        UsageError: With the rule that they break.
    """
    for complaint in _broken_rules(subject, flags):
        raise UsageError("these flags do not go together", cause=complaint)


def _broken_rules(subject: Subject, flags: Mapping[str, str]) -> Iterator[str]:
    yield from _wrong_for_model(subject, flags)
    yield from _excluded(subject, flags)
    if _capability(subject)[0] == _BLACKWELL_MAJOR:
        for flag in _NOT_ON_SM100:
            if _on(flags, flag):
                yield f"{flag} is not implemented for {subject.gpus[0].name}"


def _wrong_for_model(subject: Subject, flags: Mapping[str, str]) -> Iterator[str]:
    name = subject.class_name
    fp8_llama = name == "LlamaForCausalLM" and subject.profile.precision == "fp8"
    if _on(flags, "--streamingllm"):
        yield "--streamingllm is not supported any more"
    if _on(flags, "--pp_reduce_scatter") and name != "MixtralForCausalLM":
        yield f"--pp_reduce_scatter is for MixtralForCausalLM, this is {name}"
    if _on(flags, "--reduce_fusion") and subject.profile.tp == 1:
        yield "--reduce_fusion needs tensor parallelism"
    family = family_of(name)
    if _on(flags, "--reduce_fusion") and family is not None and not family.fuses_reduce:
        yield f"--reduce_fusion is for Llama, Mistral and Mixtral, this is {name}"
    if _on(flags, "--user_buffer") and not (_on(flags, "--reduce_fusion") and fp8_llama):
        yield "--user_buffer needs --reduce_fusion and an fp8 Llama"


def _excluded(subject: Subject, flags: Mapping[str, str]) -> Iterator[str]:
    precision = subject.profile.precision
    if _on(flags, "--multiple_profiles") and "--opt_num_tokens" in flags:
        yield "--multiple_profiles and --opt_num_tokens exclude each other"
    logits = "--gather_context_logits" in flags or "--gather_all_token_logits" in flags
    if logits and int(flags.get("--max_draft_len", "0")) > 0:
        yield "--gather_context_logits does not go with --max_draft_len"
    if "--fast_build" in flags and precision in ("int8_sq", "int4_awq", "w4a8_awq"):
        yield f"--fast_build does not go with {precision}"


def _on(flags: Mapping[str, str], flag: str) -> bool:
    return flags.get(flag, "disable") != "disable"


def _capability(subject: Subject) -> tuple[int, int]:
    return subject.gpus[0].capability
