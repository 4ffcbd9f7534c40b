"""Families of models with a way from checkpoint to engine in the release that builds engines.

Which script converts a class, and which classes `trtllm-build` knows: NVIDIA/TensorRT-LLM,
examples/models/core/{llama,qwen,phi}/convert_checkpoint.py at fd96a08b, 0df9aaf3, 10c1d594, and
MODEL_MAP in tensorrt_llm/models/__init__.py at 02267d3d. Which formats ModelOpt makes of a family:
the table of NVIDIA/Model-Optimizer, examples/hf_ptq/README.md at a2fbac7. That the Llama script
takes a checkpoint which ModelOpt has quantised was shown with 1.1.0
(manavsehgal.github.io/ai-field-notes/articles/trtllm-and-triton-on-spark).

Gemma, GPT, Nemotron-NAS and Command-R have scripts too; their flags are other ones and nobody
recorded them, so their models take the strategy `pytorch`.
"""

from collections.abc import Iterator

from nimctl.core.value import Value

UNQUANTISED = ("bf16", "fp16")


class Family(Value):
    """Classes that one script converts.

    `quantises` are the precisions that a checkpoint of the class can be calibrated for,
    `reads_quantised` those that the script takes when the checkpoint comes quantised, `unverified`
    those among both that no table confirms.
    """

    script: str
    classes: tuple[str, ...]
    quantises: tuple[str, ...]
    reads_quantised: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()
    pipeline_parallel: bool = True


_LLAMA = "models/core/llama/convert_checkpoint.py"
_QWEN = "models/core/qwen/convert_checkpoint.py"
_PHI = "models/core/phi/convert_checkpoint.py"

FAMILIES = (
    Family(
        script=_LLAMA,
        classes=("LlamaForCausalLM",),
        quantises=("fp8", "nvfp4", "int4_awq", "w4a8_awq", "int8_sq"),
        reads_quantised=("fp8", "nvfp4"),
        unverified=("int8_sq",),
    ),
    Family(
        script=_LLAMA,
        classes=("MistralForCausalLM", "MixtralForCausalLM"),
        quantises=("fp8", "nvfp4", "int4_awq"),
        reads_quantised=("fp8", "nvfp4"),
        unverified=("nvfp4",),
    ),
    Family(
        script=_QWEN,
        classes=("Qwen2ForCausalLM", "Qwen2MoeForCausalLM"),
        quantises=("fp8", "nvfp4", "int4_awq", "w4a8_awq", "int8_sq"),
    ),
    Family(script=_QWEN, classes=("Qwen3ForCausalLM",), quantises=("fp8", "nvfp4")),
    Family(
        script=_PHI,
        classes=("PhiForCausalLM", "Phi3ForCausalLM", "PhiMoEForCausalLM"),
        quantises=("fp8", "int4_awq", "int8_sq"),
        # The script asserts it.
        pipeline_parallel=False,
    ),
)

# Classes that a script converts whose flags nobody recorded; by the script's directory below
# examples/models/core. MODEL_MAP at 02267d3d, and tensorrt_llm/models/gemma/config.py for Gemma.
_UNRECORDED = {
    "gemma": ("GemmaForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM"),
    "gpt": (
        *("GPT2LMHeadModel", "GPTBigCodeForCausalLM", "Starcoder2ForCausalLM"),
        *("GPTForCausalLM", "NemotronForCausalLM"),
    ),
    "nemotron_nas": ("DeciLMForCausalLM",),
    "commandr": ("CohereForCausalLM",),
}


def family_of(class_name: str | None) -> Family | None:
    """The family of a class; None when no way to an engine is known."""
    return next((family for family in FAMILIES if class_name in family.classes), None)


def obstacles(class_name: str | None, precision: str, *, pp: int, quantised: bool) -> Iterator[str]:
    """Why no engine can be built of such a checkpoint; nothing if one can."""
    family = family_of(class_name)
    if family is None:
        yield _unknown(class_name)
        return
    if quantised and precision not in family.reads_quantised:
        yield f"the conversion of {class_name} does not read checkpoints that come as {precision}"
    elif not quantised and precision not in (*UNQUANTISED, *family.quantises):
        yield f"{class_name} cannot be quantised to {precision} for an engine"
    if pp > 1 and not family.pipeline_parallel:
        yield f"{class_name} has no pipeline parallelism"


def _unknown(class_name: str | None) -> str:
    if class_name is None:
        return "the checkpoint does not say what class of model it is"
    for directory, classes in _UNRECORDED.items():
        if class_name in classes:
            return (
                f"the flags of TensorRT-LLM's script for {class_name} "
                f"(examples/models/core/{directory}) are not recorded"
            )
    return f"no conversion to an engine is known for {class_name}"
