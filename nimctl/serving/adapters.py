"""LoRA adapters on disk: read, not judged."""

from pathlib import Path

from nimctl.core.errors import NotFoundError
from nimctl.core.lora import CONFIG_FILE, WEIGHTS_FILES, AdapterFacts
from nimctl.core.safetensors import LENGTH_BYTES, header_bytes, malformed, parse_header

_GGUF = b"GGUF"


def observe_adapter(directory: Path) -> AdapterFacts:
    """Read an adapter's configuration and the shapes of its matrices.

    Shapes are None for weights in a pickle, which is not opened. A GGUF file is known by its first
    bytes; llama.cpp checks the rest when it loads it.

    Raises:
        NotFoundError: It is no directory with an adapter in it, and no GGUF file.
        VerificationError: Its safetensors file is malformed.
    """
    if directory.is_file():
        return _observe_file(directory)
    config = directory / CONFIG_FILE
    weights = next((path for name in WEIGHTS_FILES if (path := directory / name).is_file()), None)
    if not config.is_file() or weights is None:
        raise NotFoundError(
            f"{directory} holds no LoRA adapter",
            cause=f"it needs {CONFIG_FILE} and {' or '.join(WEIGHTS_FILES)}",
            hint="give the directory that PEFT's save_pretrained() wrote",
        )
    shapes = _shapes(weights) if weights.suffix == ".safetensors" else None
    return AdapterFacts(
        directory=str(directory.resolve()), config=config.read_bytes(), shapes=shapes
    )


def _observe_file(path: Path) -> AdapterFacts:
    with path.open("rb") as file:
        if file.read(len(_GGUF)) != _GGUF:
            raise NotFoundError(
                f"{path} is no LoRA adapter",
                cause="it is neither a GGUF file nor a directory",
                hint="give the directory that PEFT's save_pretrained() wrote",
            )
    return AdapterFacts(directory=str(path.resolve()), form="gguf")


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(LENGTH_BYTES)
        if len(first) < LENGTH_BYTES:
            raise malformed(str(path), f"it has {size} bytes, too few for a header")
        length = header_bytes(str(path), first, size)
        spans = parse_header(str(path), file.read(length), size - LENGTH_BYTES - length)
    return {name: span.shape for name, span in spans.items()}
