"""What one server in a container is asked to be, from what was chosen and where it runs."""

import shlex
from pathlib import Path

from nimctl.core.containers import OFFLINE_EXPOSED, OFFLINE_NETWORK, ContainerSpec, Devices
from nimctl.core.decide.adapters import Adapters
from nimctl.core.decide.engine_use import EngineUse
from nimctl.core.decide.replicas import Slot
from nimctl.core.decide.serving import Keys
from nimctl.core.decide.target import Surroundings, Target, directory, weights
from nimctl.core.early_access import STORE
from nimctl.core.layout import ENGINE_DIRECTORY, ENGINE_FILE, TRTLLM_ENGINE_DIRECTORY
from nimctl.core.memory import CapacityWish, decoding_threads, default_capacity
from nimctl.core.requests import ServeRequest
from nimctl.core.servers import LOOPBACK
from nimctl.core.serving import Serving
from nimctl.core.trtllm.kernel_cache import KernelCache, with_cache
from nimctl.core.trtllm.serve_options import merged
from nimctl.core.unlisted import gguf_file
from nimctl.core.value import Value

_MEMORY_SHARE = 0.9


class Shared(Value):
    """What all replicas of a plan have in common."""

    image: str
    keys: Keys
    adapters: Adapters
    group: str | None
    engine: EngineUse | None


def options_text(shared: Shared) -> str:
    """TensorRT-LLM's options file: for these GPUs, and for adapters."""
    return merged(shared.engine.options if shared.engine else None, shared.adapters.options)


def options_file(name: str, around: Surroundings) -> str:
    """Where the YAML for TensorRT-LLM lies on the host."""
    return str(around.layout.server(name) / "llm-options.yaml")


def serving(
    request: ServeRequest, target: Target, around: Surroundings, slot: Slot, shared: Shared
) -> Serving:
    """A replica, before it is said in the words of its backend."""
    profile = target.candidate.profile
    engine = around.host.container_engine
    brought = target.artifact.files or target.bring
    downloads = profile.backend == "nim" and not brought and not request.offline
    needs_key = downloads and around.has_registry_key
    return Serving(
        name=slot.name,
        model=target.model,
        profile=profile,
        image=shared.image,
        port=slot.port,
        address=slot.address,
        checkpoint=_checkpoint(target, around, shared.engine),
        engine=engine_of(target, around, shared.engine),
        cache=around.nim_cache if profile.backend == "nim" else None,
        downloads=downloads,
        key_file=str(around.layout.server(slot.name) / "registry-key") if needs_key else None,
        api_key_file=shared.keys.file,
        chat_template=request.chat_template,
        nim=target.nim,
        nim_profile=profile.entry.id if profile.entry else None,
        devices=Devices(
            uuids=tuple(gpu.uuid for gpu in slot.gpus),
            method="nvidia" if engine and engine.nvidia_runtime else "cdi",
        )
        if slot.gpus
        else None,
        user=around.user,
        capacity=_capacity(request, target, around),
        threads=request.threads or decoding_threads(weights(target), around.host.cpu.cores),
        options_file=options_file(slot.name, around) if options_text(shared) else None,
        adapters=shared.adapters.checked,
        environment=request.environment,
        arguments=request.engine_arguments,
        network=_network(slot.address) if request.offline else "bridge",
        # A server that runs away must not take the machine with it.
        memory_limit_bytes=int(around.host.memory_total_bytes * _MEMORY_SHARE),
        restarts=request.restarts,
        is_routed=shared.group is not None,
        is_one_of_many=request.replicas != 1,
    )


def _network(address: str) -> str:
    return OFFLINE_NETWORK if address in LOOPBACK else OFFLINE_EXPOSED


def _capacity(request: ServeRequest, target: Target, around: Surroundings) -> CapacityWish:
    """What was asked for; llama.cpp has to be told the rest too, GPU servers choose by memory."""
    if target.candidate.profile.backend != "llama_cpp":
        return request.capacity
    available = around.host.memory_available_bytes
    full = default_capacity(target.architecture, available, request.capacity)
    return CapacityWish(max_model_len=full.max_model_len, max_num_seqs=full.max_num_seqs)


def _checkpoint(target: Target, around: Surroundings, use: EngineUse | None) -> str | None:
    if use is not None and use.checkpoint is not None:
        return use.checkpoint
    if not target.artifact.files or target.candidate.profile.backend == "llama_cpp":
        return None
    laid_out = directory(target, around.layout)
    early = target.candidate.profile.backend == "nemollm"
    return str(laid_out / STORE if early else laid_out)


def kernel_cache(
    target: Target, around: Surroundings, slot: Slot, shared: Shared, spec: ContainerSpec
) -> KernelCache | None:
    """What the kernels of a server depend on; None for one that compiles none, or keeps none."""
    is_tensorrt_llm = target.candidate.profile.backend == "tensorrt_llm"
    if not is_tensorrt_llm or engine_of(target, around, shared.engine) or not slot.gpus:
        return None
    gpu = slot.gpus[0]
    # One model's digest is that of all the checkpoints that are quantised from it.
    configuration = (target.candidate.profile.precision or "", *spec.command, options_text(shared))
    return KernelCache(
        reference=target.artifact.reference,
        image=around.image.id if around.image else None,
        model=target.artifact.digest,
        gpu=gpu.key or gpu.name,
        compute_capability=gpu.compute_capability,
        configuration=shlex.join(configuration),
        indices=tuple(one.index for one in slot.gpus),
    )


def keeping_kernels(
    spec: ContainerSpec, cache: KernelCache | None, around: Surroundings
) -> ContainerSpec:
    """The container with the directory of its kernels, where that can be told already."""
    key = cache.known_key if cache else None
    if cache is None or key is None:
        return spec
    return with_cache(spec, str(around.layout.kernels(key, cache.indices)))


def has_built_engine(target: Target) -> bool:
    """Whether an engine of TensorRT-LLM is built for the profile."""
    profile = target.candidate.profile
    return profile.backend == "tensorrt_llm" and profile.build


def engine_of(target: Target, around: Surroundings, use: EngineUse | None) -> str | None:
    """The engine on the host: TensorRT-LLM's directory, llama.cpp's file; None without one."""
    return use.engine if use is not None else _engine(target, around)


def _engine(target: Target, around: Surroundings) -> str | None:
    profile = target.candidate.profile
    laid_out = directory(target, around.layout)
    if profile.backend == "llama_cpp":
        file = gguf_file(target.artifact) if not profile.build else None
        return str(laid_out / (file or Path(ENGINE_DIRECTORY) / ENGINE_FILE))
    if profile.backend == "tensorrt_llm" and profile.runtime is None:
        return str(laid_out / TRTLLM_ENGINE_DIRECTORY)
    return None
