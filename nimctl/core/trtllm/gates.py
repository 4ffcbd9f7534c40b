"""What the builder refuses minutes into its work, or takes and leaves without effect.

NVIDIA/TensorRT-LLM. tensorrt_llm/builder.py at 008b2b8d: `build` turns off what does not go with
the model's class or precision, `optimize_model_with_config` wants `use_fused_mlp` for SwiGLU
plugins. tensorrt_llm/layers/mlp.py at 04a2cacb: SwiGLU plugins assert layers in fp8.
tensorrt_llm/layers/linear.py at 03961722: layers of other precisions never ask for the low-latency
GEMM, and the GEMM plugin gets the type that the flag names. tensorrt_llm/models/convert_utils.py at
03961722: keys and values are repeated for GPUs that are a multiple of them, and split otherwise.
docs/source/advanced/kv-cache-reuse.md: blocks are powers of two.
"""

from collections.abc import Iterator, Mapping

from nimctl.core.architecture import shares_kv_heads
from nimctl.core.errors import UsageError
from nimctl.core.trtllm.subject import Subject
from nimctl.core.trtllm.tuning import BLACKWELL_MAJOR, FUSES_REDUCE

_SWIGLU = ("--gemm_swiglu_plugin", "--low_latency_gemm_swiglu_plugin")
_FP8_LAYERS = (*_SWIGLU, "--low_latency_gemm_plugin")
_FP8_ATTENTION = ("fp8", "w4a8_awq", "nvfp4")
# "On SM 100 these raise NotImplementedError": tensorrt_llm/commands/build.py, tensorrt_llm/plugin.
_NOT_ON_SM100 = (
    "--gemm_swiglu_plugin",
    "--fp8_rowwise_gemm_plugin",
    "--low_latency_gemm_plugin",
    "--low_latency_gemm_swiglu_plugin",
    "--bert_context_fmha_fp32_acc",
)


def check_flags(subject: Subject, flags: Mapping[str, str]) -> None:
    """Refuse combinations that the builder asserts on, minutes into its work.

    Raises:
        UsageError: With the rule that they break.
    """
    _check_division(subject)
    for complaint in _broken_rules(subject, flags):
        raise UsageError("these flags do not go together", cause=complaint)


def _broken_rules(subject: Subject, flags: Mapping[str, str]) -> Iterator[str]:
    yield from _wrong_for_model(subject, flags)
    yield from _wrong_for_precision(subject, flags)
    yield from _excluded(subject, flags)
    yield from _wrong_sizes(flags)
    if subject.gpus[0].capability[0] == BLACKWELL_MAJOR:
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
    if _on(flags, "--reduce_fusion") and name != FUSES_REDUCE:
        yield f"--reduce_fusion is for {FUSES_REDUCE}, this is {name}"
    if _on(flags, "--user_buffer") and not (_on(flags, "--reduce_fusion") and fp8_llama):
        yield "--user_buffer needs --reduce_fusion and an fp8 Llama"


def _wrong_for_precision(subject: Subject, flags: Mapping[str, str]) -> Iterator[str]:
    precision = subject.profile.precision
    for flag in _FP8_LAYERS:
        if _on(flags, flag) and precision != "fp8":
            yield f"{flag} is for layers in fp8, this is {precision}"
    if _on(flags, "--use_fp8_context_fmha") and precision not in _FP8_ATTENTION:
        yield f"--use_fp8_context_fmha is for {', '.join(_FP8_ATTENTION)}, this is {precision}"
    if flags.get("--gemm_plugin") == "nvfp4" and precision != "nvfp4":
        yield f"--gemm_plugin=nvfp4 multiplies weights in nvfp4, this is {precision}"
    fuses_norm = precision == "nvfp4" and subject.class_name == FUSES_REDUCE
    if _on(flags, "--norm_quant_fusion") and (not fuses_norm or _on(flags, "--reduce_fusion")):
        yield f"--norm_quant_fusion is for {FUSES_REDUCE} in nvfp4, without --reduce_fusion"
    for flag in _SWIGLU:
        if _on(flags, flag) and flags.get("--use_fused_mlp") == "disable":
            yield f"{flag} needs --use_fused_mlp"


def _check_division(subject: Subject) -> None:
    kv_heads, tp = subject.architecture.kv_heads, subject.profile.tp
    if not shares_kv_heads(subject.architecture, tp):
        raise UsageError(
            f"{subject.model} cannot be divided over {tp} GPUs",
            cause=f"of {tp} and its {kv_heads} heads of keys and values none is a multiple of the"
            " other",
            hint="another --tp",
        )


def _wrong_sizes(flags: Mapping[str, str]) -> Iterator[str]:
    block = int(flags.get("--tokens_per_block", "1"))
    if block < 1 or block & (block - 1):
        yield f"--tokens_per_block is a power of two, not {block}"


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
