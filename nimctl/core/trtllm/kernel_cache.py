"""What the PyTorch backend compiles and tunes when it starts, kept for the next server like it."""

import hashlib

import msgspec

from nimctl.core.containers import ContainerSpec, Mount
from nimctl.core.value import Value, canonical_json

CACHE = "/cache"


class KernelCache(Value):
    """What a server's kernels may be reused under.

    TensorRT-LLM's autotuner stores version and device in its file and checks neither when it loads
    it (NVIDIA/TensorRT-LLM#17664), so that all of it has to be in the name.

    `image` is the digest of the image's configuration, `model` that of the artifact that is pinned
    under `reference`; None while they are not here. `configuration` is the server's command line
    with its options file. `indices` are those of its GPUs: replicas write at once, so each has a
    directory of its own, of the same key.
    """

    reference: str
    image: str | None
    model: str | None
    gpu: str
    compute_capability: str
    configuration: str
    indices: tuple[int, ...]

    def key(self, image: str, model: str) -> str:
        """The name of all that the kernels depend on."""
        depends = [image, self.gpu, self.compute_capability, model, self.configuration]
        return hashlib.sha256(canonical_json(depends)).hexdigest()

    @property
    def known_key(self) -> str | None:
        """The key, when everything is here already."""
        return self.key(self.image, self.model) if self.image and self.model else None


def with_cache(spec: ContainerSpec, directory: str) -> ContainerSpec:
    """The container with its cache in a directory of the host."""
    if cache_of(spec):
        return spec
    mount = Mount(source=directory, target=CACHE, read_only=False)
    return msgspec.structs.replace(
        spec,
        environment={**cache_environment(), **spec.environment},
        mounts=(*spec.mounts, mount),
    )


def cache_of(spec: ContainerSpec) -> str | None:
    """The directory of the host that a container has its cache in."""
    return next((one.source for one in spec.mounts if one.target == CACHE), None)


def cache_environment() -> dict[str, str]:
    """Variables that make a server keep its caches under CACHE.

    The autotuner's file has the rank appended and is off unless named (NVIDIA/TensorRT-LLM#7738).
    The others are where FlashInfer, Triton and PyTorch compile kernels to, torch.compile without
    its variable to /tmp (https://docs.pytorch.org/tutorials/recipes/
    torch_compile_caching_configuration_tutorial.html); and the driver those that come as PTX
    (https://docs.nvidia.com/cuda/cuda-c-programming-guide, CUDA environment variables). That of
    DeepGEMM was read in copies of TensorRT-LLM's compiler.cuh; unverified for the release.
    """
    return {
        "TLLM_AUTOTUNER_CACHE_PATH": f"{CACHE}/autotuner.json",
        "FLASHINFER_WORKSPACE_BASE": CACHE,
        "TORCHINDUCTOR_CACHE_DIR": f"{CACHE}/torchinductor",
        "TORCH_EXTENSIONS_DIR": f"{CACHE}/torch_extensions",
        "TRITON_CACHE_DIR": f"{CACHE}/triton",
        "TRTLLM_DG_CACHE_DIR": f"{CACHE}/deep_gemm",
        "CUDA_CACHE_PATH": f"{CACHE}/cuda",
        "XDG_CACHE_HOME": f"{CACHE}/xdg",
    }
