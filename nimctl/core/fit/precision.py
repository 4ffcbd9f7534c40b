"""Which precision runs on which compute capability, and which is preferred there.

Weights of lower precision can be widened on older GPUs (vLLM's Marlin kernels do that), which saves
memory and costs speed. It is not counted as having a precision, but for mxfp4: models that were
trained in it come in nothing else.
"""

from nimctl.core.profile import Profile

Capability = tuple[int, int]

_ANY: Capability = (0, 0)
_NO_LIMIT: Capability = (99, 0)
_VOLTA: Capability = (7, 0)
_TURING: Capability = (7, 5)
_AMPERE: Capability = (8, 0)
_ADA: Capability = (8, 9)
_HOPPER: Capability = (9, 0)
_BLACKWELL: Capability = (10, 0)
_CONSUMER_BLACKWELL: Capability = (12, 0)

# What `trtllm-build` makes engines in:
# https://nvidia.github.io/TensorRT-LLM/legacy/reference/support-matrix.html
_ENGINES: dict[str, Capability] = {
    "fp32": _AMPERE,
    "fp16": _AMPERE,
    "bf16": _AMPERE,
    "int8": _AMPERE,
    "int8_sq": _AMPERE,
    "int8wo": _AMPERE,
    "int4_awq": _AMPERE,
    "int4_gptq": _AMPERE,
    "w4a8_awq": _ADA,
    "fp8": _ADA,
    "nvfp4": _BLACKWELL,
}
# What TensorRT-LLM's PyTorch backend serves checkpoints in:
# https://nvidia.github.io/TensorRT-LLM/features/quantization.html. That page has mxfp4 from 10.0
# on; the performance overview beside it has GPT-OSS, which is in mxfp4, on H100 and H200 too.
_CHECKPOINTS: dict[str, Capability] = {
    "fp32": _AMPERE,
    "fp16": _AMPERE,
    "bf16": _AMPERE,
    "int4_awq": _AMPERE,
    "int4_gptq": _AMPERE,
    "w4a8_awq": _ADA,
    "fp8": _ADA,
    "mxfp4": _HOPPER,
    "nvfp4": _BLACKWELL,
}
# "SM120 has no AWQ or GPTQ kernels", the same page.
_CHECKPOINTS_BELOW: dict[str, Capability] = {
    "int4_awq": _CONSUMER_BLACKWELL,
    "int4_gptq": _CONSUMER_BLACKWELL,
    "w4a8_awq": _CONSUMER_BLACKWELL,
}
# https://docs.vllm.ai/en/v0.15.1/features/quantization/ and, for bf16, vLLM's own refusal
# (https://github.com/vllm-project/vllm/issues/1157); mxfp4 by Marlin
# (https://github.com/vllm-project/vllm/issues/31085), unverified below 9.0. SGLang is taken to be
# alike, unverified.
_VLLM: dict[str, Capability] = {
    "fp32": _VOLTA,
    "fp16": _VOLTA,
    "bf16": _AMPERE,
    "int8": _TURING,
    "int4": _TURING,
    "int4_awq": _TURING,
    "int4_gptq": _VOLTA,
    "fp8": _ADA,
    "mxfp4": _AMPERE,
    "nvfp4": _BLACKWELL,
}
# Jetson Orin and Thor are not in https://nvidia.github.io/TensorRT-LLM/supported-hardware.html.
_WITHOUT_TENSORRT_LLM: frozenset[Capability] = frozenset({(8, 7), (11, 0)})
# The builder raises "SmoothQuant is not supported on SM>=100" and the like for int8, below 12.0:
# NVIDIA/TensorRT-LLM, tensorrt_llm/builder.py at 008b2b8d. The support matrix has it all the same.
_WITHOUT_INT8_MAJOR = 10
_INT8 = ("int8", "int8_sq", "int8wo")
# What a NIM needs, https://docs.nvidia.com/nim/large-language-models/latest/support-matrix.html:
# above 7.0 for any model, 8.0 for bf16. fp8 and nvfp4 as the hardware has them. Riva's engines are
# built from 7.0 on, https://docs.nvidia.com/nim/riva/asr/1.3.1/support-matrix.html.
_NIM: dict[str, Capability] = {
    "bf16": _AMPERE,
    "fp8": _ADA,
    "mxfp4": _AMPERE,
    "nvfp4": _BLACKWELL,
}

# Best first. From Ada on, fp8 halves the bytes at next to no loss; below, nothing computes in it
# and 16 bits are the best that loses nothing. Four bits come first where the hardware computes in
# them, and those of int4 where bf16 rarely leaves room for a KV cache: on Ada's 24 to 48 GB.
_PREFERENCES: tuple[tuple[Capability, tuple[str, ...]], ...] = (
    (_BLACKWELL, ("nvfp4", "mxfp4", "fp8", "bf16", "fp16")),
    (_HOPPER, ("fp8", "mxfp4", "bf16", "fp16", "int4_awq", "int4")),
    (_ADA, ("fp8", "mxfp4", "int4_awq", "int4", "bf16", "fp16")),
    (_AMPERE, ("mxfp4", "bf16", "fp16", "int4_awq", "int4", "int8_sq", "int8")),
    (_ANY, ("fp16", "int4_awq", "int4", "int8")),
)
_LAST = 99


def range_of(profile: Profile) -> tuple[Capability, Capability] | None:
    """From which compute capability on, and below which, a profile's precision runs.

    None when its backend has no such precision at all.
    """
    precision = profile.precision
    if profile.entry is not None:
        least = _VOLTA if profile.entry.is_speech else _NIM.get(precision or "", _TURING)
        return least, _NO_LIMIT
    table = _table(profile)
    if precision is None or table is None:
        return _ANY, _NO_LIMIT
    if precision not in table:
        return None
    below = _CHECKPOINTS_BELOW if table is _CHECKPOINTS else {}
    return table[precision], below.get(precision, _NO_LIMIT)


def names_of(profile: Profile) -> tuple[str, ...]:
    """The precisions that a profile's backend has; none where nothing limits them."""
    return tuple(_table(profile) or ())


def is_built_for(profile: Profile, capability: Capability) -> bool:
    """Whether a profile's backend is built for a compute capability that lies in its range."""
    own = profile.entry is None and profile.backend == "tensorrt_llm"
    return not own or capability not in _WITHOUT_TENSORRT_LLM


def is_refused(profile: Profile, capability: Capability) -> bool:
    """Whether the builder refuses engines of a precision that the GPU has."""
    is_engine = profile.entry is None and _table(profile) is _ENGINES
    return is_engine and profile.precision in _INT8 and capability[0] == _WITHOUT_INT8_MAJOR


def runs_on(profile: Profile, capability: Capability) -> bool:
    """Whether a profile's backend and precision run on a compute capability."""
    allowed = range_of(profile)
    if allowed is None or not is_built_for(profile, capability) or is_refused(profile, capability):
        return False
    return allowed[0] <= capability < allowed[1]


def preference(precision: str | None, capability: Capability) -> int:
    """The rank of a precision on a GPU, 0 for the best."""
    order = preferences(capability)
    return order.index(precision) if precision in order else _LAST


def preferences(capability: Capability) -> tuple[str, ...]:
    """The precisions of GPUs with this compute capability, the best first."""
    return next(order for least, order in _PREFERENCES if capability >= least)


def _table(profile: Profile) -> dict[str, Capability] | None:
    match profile.backend:
        case "tensorrt_llm":
            return _CHECKPOINTS if profile.runtime == "pytorch" else _ENGINES
        case "vllm" | "sglang":
            return _VLLM
    return None
