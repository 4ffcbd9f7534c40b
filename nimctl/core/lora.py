"""LoRA adapters: what there is to know of one, and whether a backend and a model take it.

PEFT's format: https://huggingface.co/docs/peft/developer_guides/checkpoint. llama.cpp has its own,
made of that by its convert_lora_to_gguf.py.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Literal

import msgspec

from nimctl.core.architecture import Architecture
from nimctl.core.errors import UsageError, VerificationError
from nimctl.core.serving.serving import Adapter
from nimctl.core.value import Value

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MATRIX = re.compile(r"\.(?P<module>\w+)\.lora_(?P<side>[AB])(?:\.\w+)?\.weight$")
# vllm/lora/peft_helper.py and SGLang's LoRA documentation: neither takes these; NIM runs vLLM or
# TensorRT-LLM on the same format.
_REFUSED = {
    "use_dora": "DoRA",
    "modules_to_save": "modules that were trained whole (modules_to_save)",
}
# vllm/config/lora.py allows no higher rank; the others state none.
_HIGHEST_RANK = {"vllm": 512}


class _Config(msgspec.Struct):
    """`adapter_config.json`, as far as it matters; other keys are left alone."""

    r: int
    peft_type: str = "LORA"
    base_model_name_or_path: str | None = None
    target_modules: list[str] | str | None = None
    use_dora: bool = False
    modules_to_save: list[str] | None = None
    rank_pattern: dict[str, int] = {}


class AdapterFacts(Value):
    """An adapter as it lies on disk: its configuration, and the shapes of its matrices if known.

    One of llama.cpp's is a file, and has neither here.
    """

    directory: str
    config: bytes = b""
    shapes: dict[str, tuple[int, ...]] | None = None
    form: Literal["peft", "gguf"] = "peft"


def check_adapter(
    facts: AdapterFacts, *, backend: str, reference: str | None, architecture: Architecture | None
) -> tuple[Adapter, str | None]:
    """Say what a server is told of an adapter, and what the user should be warned of.

    The shapes of its matrices decide whether it fits the model; the name of its base model is
    only a sign, as copies of one model have many names.

    Raises:
        UsageError: The model or the backend cannot take it.
        VerificationError: Its files are malformed.
    """
    name = PurePosixPath(facts.directory).name
    _check_form(facts, backend)
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"`{name}` is no name for an adapter",
            cause="an adapter is called like its directory: letters, digits, . _ and -",
            hint=f"mv {facts.directory} a directory with such a name",
        )
    if facts.form == "gguf":
        return Adapter(name=name, directory=facts.directory, rank=0), None
    config = _decode(facts)
    rank = max((config.r, *config.rank_pattern.values()))
    for problem in _problems(config, facts, rank, backend, architecture):
        raise UsageError(f"the adapter {name} cannot be served by {backend}", cause=problem)
    return (
        Adapter(
            name=name, directory=facts.directory, rank=rank, modules=_modules(config, facts.shapes)
        ),
        _doubt(name, config.base_model_name_or_path, reference),
    )


def _check_form(facts: AdapterFacts, backend: str) -> None:
    if backend == "nemollm":
        raise UsageError("nemollm takes no adapters", hint="leave --lora out")
    if backend == "llama_cpp" and facts.form == "peft":
        raise UsageError(
            f"llama_cpp takes adapters in GGUF files, and {facts.directory} is PEFT's directory",
            hint=f"python convert_lora_to_gguf.py {facts.directory}   # of llama.cpp's repository",
        )
    if backend != "llama_cpp" and facts.form == "gguf":
        raise UsageError(
            f"{backend} takes adapters in PEFT's format, and {facts.directory} is a GGUF file",
            hint="give the directory that it was converted from, or serve with --backend llama_cpp",
        )


def _modules(config: _Config, shapes: Mapping[str, tuple[int, ...]] | None) -> tuple[str, ...]:
    """The layers that have matrices; none where only a pattern tells of them."""
    if shapes is not None:
        return tuple(sorted({module for module, _, _ in _matrices(shapes)}))
    named = config.target_modules
    return tuple(sorted(named)) if isinstance(named, list) else ()


def _decode(facts: AdapterFacts) -> _Config:
    where = f"{facts.directory}/{CONFIG_FILE}"
    try:
        config = msgspec.json.decode(facts.config, type=_Config)
    except msgspec.DecodeError as error:
        raise VerificationError(f"{where} is no PEFT configuration", cause=str(error)) from error
    if config.peft_type != "LORA" or config.r < 1:
        raise VerificationError(
            f"{where} describes no LoRA adapter",
            cause=f"peft_type {config.peft_type}, r {config.r}",
        )
    return config


def _problems(
    config: _Config,
    facts: AdapterFacts,
    rank: int,
    backend: str,
    architecture: Architecture | None,
) -> Iterator[str]:
    for field, what in _REFUSED.items():
        if getattr(config, field):
            yield f"it uses {what}, which LoRA servers do not take"
    highest = _HIGHEST_RANK.get(backend)
    if highest and rank > highest:
        yield f"its rank is {rank}, {backend} takes {highest} at most"
    if facts.shapes is None:
        return
    matrices = _matrices(facts.shapes)
    if not matrices:
        yield "its weights hold no LoRA matrix"
    if architecture is None:
        return
    sizes = _sizes(architecture)
    for module, side, shape in matrices:
        expected = sizes.get(module)
        # lora_A is rank x input, lora_B output x rank.
        actual = shape[1] if side == "A" else shape[0]
        if expected and actual != expected[side]:
            yield (
                f"{module} has {expected[side]} {'inputs' if side == 'A' else 'outputs'} in the "
                f"model, {actual} in the adapter: it was trained for another one"
            )


def _matrices(shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[str, str, tuple[int, ...]]]:
    found = ((_MATRIX.search(name), shape) for name, shape in shapes.items())
    two = 2
    return [
        (match["module"], match["side"], shape)
        for match, shape in found
        if match and len(shape) == two
    ]


def _sizes(architecture: Architecture) -> dict[str, dict[str, int]]:
    """Inputs (A) and outputs (B) of the linear layers of a Llama-like decoder."""
    hidden, wide = architecture.hidden_size, architecture.intermediate_size
    queries = architecture.heads * architecture.head_dim
    keys = architecture.kv_heads * architecture.head_dim
    sizes = {
        "q_proj": (hidden, queries),
        "k_proj": (hidden, keys),
        "v_proj": (hidden, keys),
        "o_proj": (queries, hidden),
        "lm_head": (hidden, architecture.vocabulary),
    }
    if architecture.experts is None:
        sizes |= {
            "gate_proj": (hidden, wide),
            "up_proj": (hidden, wide),
            "down_proj": (wide, hidden),
        }
    return {module: {"A": inputs, "B": outputs} for module, (inputs, outputs) in sizes.items()}


def _doubt(name: str, base: str | None, reference: str | None) -> str | None:
    if not base or not reference:
        return None
    short = PurePosixPath(base).name.lower()
    if short in reference.lower():
        return None
    return f"WARNING: the adapter {name} names {base} as its base model, not {reference}"
