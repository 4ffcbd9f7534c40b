"""Everything that is known of a conversion before its first byte is written.

Reads the configuration, the tokenizer and the headers of the tensor files; needs neither numpy nor
gguf.
"""

from pathlib import Path, PurePath

from nimctl.core.value import Value
from nimctl.engines.gguf.architecture import Architecture, TensorRule, describe
from nimctl.engines.gguf.config import Config, read_config
from nimctl.engines.gguf.metadata import Metadata
from nimctl.engines.gguf.refusals import corrupt, missing, unsupported
from nimctl.engines.gguf.safetensors import StoredTensor, find_tensors
from nimctl.engines.gguf.tokenizer import read_tokenizer

SOURCE_DTYPES = ("F32", "F16", "BF16")


class TensorCopy(Value):
    """One tensor to convert: from where, and what it becomes."""

    stored: StoredTensor
    rule: TensorRule


class Conversion(Value):
    """A checkpoint that can be converted, without the choice of precision."""

    architecture: Architecture
    metadata: Metadata
    tensors: tuple[TensorCopy, ...]


def check(checkpoint: Path) -> None:
    """Tell whether a checkpoint can be converted, without reading its weights.

    Raises:
        UnsupportedModelError: The model, its tokenizer or its number format cannot be converted.
        VerificationError: A file is missing, malformed or contradicts another one.
    """
    read_conversion(checkpoint)


def read_conversion(checkpoint: Path) -> Conversion:
    """Read what a conversion depends on.

    Raises:
        UnsupportedModelError: The model, its tokenizer or its number format cannot be converted.
        VerificationError: A file is missing, malformed or contradicts another one.
    """
    config = read_config(checkpoint)
    architecture = describe(config)
    return Conversion(
        architecture=architecture,
        tensors=match_tensors(config.class_name, architecture, find_tensors(checkpoint)),
        metadata={
            "general.type": "model",
            "general.name": _name(config),
            **architecture.metadata,
            **read_tokenizer(checkpoint, config.vocab_size),
        },
    )


def match_tensors(
    class_name: str, architecture: Architecture, stored: dict[str, StoredTensor]
) -> tuple[TensorCopy, ...]:
    """Find each tensor that the architecture has, and nothing beside them.

    Raises:
        UnsupportedModelError: There is a tensor too many, or one in a format such as FP8.
        VerificationError: A tensor is missing or has another shape than the configuration says.
    """
    copies = tuple(_copy(rule, stored) for rule in architecture.tensors)
    taken = {copy.stored.name for copy in copies}
    rest = sorted(name for name in stored if name not in taken)
    unknown = [name for name in rest if not architecture.ignores(name)]
    if unknown:
        raise unsupported(
            f"{unknown[0]} is no tensor of a {class_name}",
            cause=f"{len(unknown)} tensors have no place in the GGUF architecture",
        )
    return copies


def _copy(rule: TensorRule, stored: dict[str, StoredTensor]) -> TensorCopy:
    tensor = stored.get(rule.source)
    if tensor is None:
        raise missing(f"the tensor {rule.source}")
    if tensor.dtype not in SOURCE_DTYPES:
        raise unsupported(
            f"{tensor.name} is stored as {tensor.dtype}, which cannot be converted to GGUF",
            cause="it can be done for " + ", ".join(SOURCE_DTYPES),
        )
    if tensor.shape != rule.shape:
        raise corrupt(
            tensor.file,
            f"{tensor.name} has the shape {list(tensor.shape)}, config.json {list(rule.shape)}",
        )
    return TensorCopy(stored=tensor, rule=rule)


def _name(config: Config) -> str:
    # Not the directory's name, which would make the same input give other bytes.
    return PurePath(config.name_or_path or "").name or config.class_name
