"""`vllm serve` on a checkpoint; flags from https://docs.vllm.ai/en/latest/cli/serve.html."""

from collections.abc import Iterator

from nimctl.core.serving.backends import BACKENDS
from nimctl.core.serving.part import QUIET, USER, Part, mounted
from nimctl.core.serving.serving import ADAPTERS, CHAT_TEMPLATE, MODELS, Serving

# The ranks that `--max-lora-rank` takes, vllm/config/lora.py.
_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


def part(serving: Serving) -> Part:
    """The command line and mounts of vLLM."""
    model = f"{MODELS}/{serving.model}"
    return Part(
        # Named, because the image's own entry point changed from a module to this.
        entrypoint=("vllm", "serve"),
        command=(model, *_flags(serving)),
        environment={**USER, **QUIET, "VLLM_NO_USAGE_STATS": "1"},
        mounts=mounted((serving.checkpoint, model), (serving.chat_template, CHAT_TEMPLATE)),
        # Tensor parallel workers share memory: the docs ask for the host's IPC or a large /dev/shm.
        ipc="host",
    )


def _flags(serving: Serving) -> Iterator[str]:
    profile, capacity = serving.profile, serving.capacity
    yield from ("--served-model-name", serving.model)
    yield from ("--host", "0.0.0.0", "--port", str(BACKENDS["vllm"].port))  # noqa: S104
    yield from ("--tensor-parallel-size", str(profile.tp))
    yield from ("--pipeline-parallel-size", str(profile.pp))
    if capacity.max_model_len:
        yield from ("--max-model-len", str(capacity.max_model_len))
    if capacity.max_num_seqs:
        yield from ("--max-num-seqs", str(capacity.max_num_seqs))
    if serving.chat_template:
        yield from ("--chat-template", CHAT_TEMPLATE)
    if serving.adapters:
        highest = max(one.rank for one in serving.adapters)
        rank = next((allowed for allowed in _LORA_RANKS if allowed >= highest), highest)
        yield from ("--enable-lora", "--max-lora-rank", str(rank), "--lora-modules")
        yield from (f"{one.name}={ADAPTERS}/{one.name}" for one in serving.adapters)
