"""What a user may set of a build: `--set FLAG=VALUE`, checked before anything runs."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from nimctl.core.errors import UsageError
from nimctl.core.trtllm.flag import Flag
from nimctl.core.trtllm.flag_table import FLAGS

_OF_PRECISION = (
    *("--use_fp8", "--use_nvfp4", "--use_fp8_rowwise", "--use_meta_fp8_rowwise_recipe"),
    *("--use_weight_only", "--weight_only_precision", "--smoothquant", "--use_qserve"),
    *("--autoq_format", "--auto_quantize_bits"),
)
_ELSEWHERE = (
    *("--model_cls_file", "--lora_dir", "--visualize_network", "--quant_ckpt_path"),
    "--medusa_model_dir",
)
# They describe the checkpoint that the Llama script makes up where it is given none: NVIDIA's
# TensorRT-LLM, examples/models/core/llama/convert_checkpoint.py at 368f8f2a, `from_cli_args`.
_MADE_UP = (
    *("--n_layer", "--n_head", "--n_kv_head", "--n_embd", "--n_positions", "--inter_size"),
    *("--ffn_dim_multiplier", "--multiple_of", "--vocab_size", "--hidden_act", "--rotary_base"),
    *("--rms_norm_eps", "--moe_num_experts", "--moe_top_k", "--moe_renorm_mode"),
)
# Nothing is done by no worker, and nothing measured with no text.
_AT_LEAST_ONE = (
    *("--workers", "--calib_size", "--calib_max_seq_length", "--batch_size"),
    "--awq_block_size",
)
# They leave the weights out.
_INCOMPLETE = ("--strip_plan", "--save_config_only")
# nimctl gives these itself: where files lie inside, and what has an option of its own.
_OWN = {
    "--checkpoint_dir": "nimctl lays out the directories",
    "--output_dir": "nimctl lays out the directories",
    "--model_dir": "nimctl lays out the directories",
    "--meta_ckpt_dir": "the model is a Hugging Face checkpoint",
    "--nemo_ckpt_path": "the model is a Hugging Face checkpoint",
    "--model_config": "the checkpoint says it",
    "--build_config": "it would override flags that the engine key is made of",
    "--output_timing_cache": "nimctl lays out the directories",
    "--input_timing_cache": "nimctl lays out the directories",
    "--dry_run": "a plan is shown with --dry-run of nimctl",
    "--calib_dataset": "use --calib FILE",
    "--max_batch_size": "use --max-batch-size",
    "--max_num_tokens": "use --max-num-tokens",
    "--max_seq_len": "use --max-seq-len",
    "--max_beam_width": "use --max-beam-width",
    "--kv_cache_dtype": "use --kv-cache-dtype",
    "--tp_size": "use --tp",
    "--pp_size": "use --pp",
    "--qformat": "use --precision",
    # What the key, the memory model and `serve` go by is said once.
    **dict.fromkeys(_OF_PRECISION, "use --precision"),
    **dict.fromkeys(("--fp8_kv_cache", "--int8_kv_cache"), "use --kv-cache-dtype"),
    "--cp_size": "an engine has tp times pp ranks: --tp, --pp",
    **dict.fromkeys(_MADE_UP, "the checkpoint says it"),
    "--paged_kv_cache": "it is deprecated: --set kv_cache_type=paged",
    **dict.fromkeys(_ELSEWHERE, "it is a file or directory, and builders see the checkpoint only"),
    **dict.fromkeys(_INCOMPLETE, "the engine that it gives cannot be served"),
}
_ALIASES = {
    alias: name
    for flags in FLAGS.values()
    for name, flag in flags.items()
    for alias in flag.aliases
    if alias.startswith("--")
}
_TRUE, _FALSE = ("true", "enable", "yes", "1"), ("false", "disable", "no", "0")


def parse_settings(texts: Iterable[str]) -> dict[str, str]:
    """`gemm_plugin=auto` or `--gemm_plugin=auto` to a flag and its value; a switch needs none.

    Raises:
        UsageError: It has no such form, or a flag is set twice.
    """
    settings: dict[str, str] = {}
    for text in texts:
        name, _, value = text.partition("=")
        flag = f"--{name.strip().lstrip('-').replace('-', '_')}"
        if flag == "--":
            raise UsageError(f"`{text}` sets nothing", hint="--set FLAG=VALUE")
        flag = _ALIASES.get(flag, flag)
        if flag in settings:
            raise UsageError(f"{flag} is set twice")
        settings[flag] = value or "true"
    return settings


def applied(tool: str, flags: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """The flags of one command with those settings that are its own; a switch that is off goes."""
    own = {flag: value for flag, value in settings.items() if flag in FLAGS[tool]}
    merged = {**flags, **own}
    return {
        flag: value
        for flag, value in merged.items()
        if not (FLAGS[tool][flag].switch and value.lower() in _FALSE)
    }


def check_settings(settings: Mapping[str, str], tools: Iterable[str]) -> None:
    """Refuse what the commands of this build would refuse.

    Raises:
        UsageError: No command has the flag, or its value is of the wrong kind or no choice of it.
    """
    names = list(tools)
    for flag, value in settings.items():
        if flag in _OWN:
            raise UsageError(f"{flag} cannot be set", cause=_OWN[flag])
        if flag == "--dtype" and "convert_checkpoint.py" in names:
            # Quantising leaves it open what the rest is in; here it is the precision itself.
            raise UsageError(f"{flag} cannot be set", cause="use --precision")
        entries = [FLAGS[name][flag] for name in names if flag in FLAGS[name]]
        if not entries:
            raise _unknown(flag, names)
        for entry in entries:
            complaint = wrong(entry, value)
            if complaint is None and flag in _AT_LEAST_ONE and int(value) < 1:
                complaint = "it takes 1 or more"
            if complaint:
                raise UsageError(f"{flag}={value} is refused", cause=complaint)


def wrong(flag: Flag, value: str) -> str | None:
    """Why a flag does not take a value; None if it does."""
    if flag.switch:
        if value.lower() not in _TRUE + _FALSE:
            return "it is a switch: true or false"
        return None
    words = value.split() if flag.several else [value]
    for word in words:
        if flag.kind in ("int", "float") and not _is_number(flag.kind, word):
            return f"it takes {'a whole number' if flag.kind == 'int' else 'a number'}"
        if flag.kind == "int" and int(word) < 0:
            return "it takes no number below zero"
        if flag.choices and word not in flag.choices:
            return "it takes one of " + ", ".join(flag.choices)
    return None


def words(tool: str, flags: Mapping[str, str]) -> tuple[str, ...]:
    """Flags as a command line has them."""
    line: list[str] = []
    for name, value in flags.items():
        flag = FLAGS[tool][name]
        if flag.switch:
            line.append(name)
        else:
            line += [name, *(value.split() if flag.several else [value])]
    return tuple(line)


def _unknown(flag: str, tools: list[str]) -> UsageError:
    known = sorted({name for tool in tools for name in FLAGS[tool]} - _OWN.keys())
    near = get_close_matches(flag, known, n=1)
    hint = f"did you mean {near[0]}?" if near else None
    return UsageError(f"{' and '.join(tools)} have no flag {flag}", hint=hint)


def _is_number(kind: str, word: str) -> bool:
    try:
        int(word) if kind == "int" else float(word)
    except ValueError:
        return False
    return True
