"""About how many bytes a source has, for those that no registry was asked of yet.

Parameters times the bits of one: what tokenizer, configuration and headers add is below a
thousandth of an LLM. Not for what needs a size to be right, such as whether a disk has room.
"""

from collections.abc import Iterator

from nimctl.core import memory
from nimctl.core.architecture import Architecture
from nimctl.core.catalogue import Model
from nimctl.core.memory import GpuShare
from nimctl.core.profile import Profile
from nimctl.core.variants import plain


def download_estimates(model: Model) -> dict[str, int]:
    """Source to bytes, about; without those whose precision nothing tells.

    A source is in the precision in which it is served as it is: what is built from it says nothing.
    """
    if model.architecture is None:
        return {}
    about = {
        profile.source: _weights(model.architecture, profile)
        for profile in _as_written(model)
        if profile.source and not profile.build
    }
    return {source: size for source, size in about.items() if size is not None}


def _as_written(model: Model) -> Iterator[Profile]:
    yield from model.profiles
    for variant in model.variants:
        for precision in variant.precisions:
            yield plain(variant, precision)


def _weights(architecture: Architecture, profile: Profile) -> int | None:
    """All weights: a GGUF file has its own types, and embeddings in less than 16 bits."""
    if profile.backend == "llama_cpp":
        return memory.weights_bytes(architecture, profile.precision)
    share = GpuShare(backend=profile.backend, precision=profile.precision)
    return memory.gpu_weights_bytes(architecture, share)
