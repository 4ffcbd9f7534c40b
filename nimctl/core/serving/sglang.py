"""`sglang.launch_server`; flags from https://docs.sglang.io/advanced_features/server_arguments.html."""

from collections.abc import Iterator

from nimctl.core.serving.backends import BACKENDS
from nimctl.core.serving.part import GPU_ULIMITS, QUIET, USER, Part, mounted
from nimctl.core.serving.serving import ADAPTERS, CHAT_TEMPLATE, MODELS, Serving


def part(serving: Serving) -> Part:
    """The command line and mounts of SGLang."""
    model = f"{MODELS}/{serving.model}"
    return Part(
        entrypoint=("python3", "-m", "sglang.launch_server"),
        command=("--model-path", model, *_flags(serving)),
        environment={**USER, **QUIET},
        mounts=mounted((serving.checkpoint, model), (serving.chat_template, CHAT_TEMPLATE)),
        # As in the project's own docker/compose.yaml.
        ipc="host",
        ulimits=GPU_ULIMITS,
    )


def _flags(serving: Serving) -> Iterator[str]:
    profile, capacity = serving.profile, serving.capacity
    yield from ("--served-model-name", serving.model)
    yield from ("--host", "0.0.0.0", "--port", str(BACKENDS["sglang"].port))  # noqa: S104
    yield from ("--tp-size", str(profile.tp), "--pp-size", str(profile.pp), "--enable-metrics")
    if capacity.max_model_len:
        yield from ("--context-length", str(capacity.max_model_len))
    if capacity.max_num_seqs:
        yield from ("--max-running-requests", str(capacity.max_num_seqs))
    if serving.chat_template:
        yield from ("--chat-template", CHAT_TEMPLATE)
    if serving.adapters:
        yield "--lora-paths"
        yield from (f"{one.name}={ADAPTERS}/{one.name}" for one in serving.adapters)
