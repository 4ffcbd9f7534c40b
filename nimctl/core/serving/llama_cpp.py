"""llama.cpp in the image that tools/cpu_image makes: the embedded server's own command line."""

from pathlib import PurePosixPath

from nimctl.core.backends import EmbeddedOptions, embedded_argv
from nimctl.core.containers import Secret
from nimctl.core.memory import Capacity
from nimctl.core.serving.backends import BACKENDS
from nimctl.core.serving.part import Part, mounted
from nimctl.core.serving.serving import ADAPTERS, API_KEYS, CHAT_TEMPLATE, ENGINES, Serving

_CONTEXT = 4096


def part(serving: Serving) -> Part:
    """The command line and mounts of llama.cpp."""
    source = PurePosixPath(serving.engine or "model.gguf")
    key_file = serving.api_key_file
    keys = Secret(name=API_KEYS, source=key_file) if key_file else None
    engine = f"{ENGINES}/{source.name}"
    argv = embedded_argv(
        "python3",
        EmbeddedOptions(
            engine=engine,
            alias=serving.model,
            host="0.0.0.0",  # noqa: S104 - inside the container
            port=BACKENDS["llama_cpp"].port,
            capacity=Capacity(
                max_model_len=serving.capacity.max_model_len or _CONTEXT,
                max_num_seqs=serving.capacity.max_num_seqs or 1,
            ),
            threads=serving.threads,
            api_key_file=keys.target if keys else None,
            chat_template=CHAT_TEMPLATE if serving.chat_template else None,
            lora=tuple(f"{ADAPTERS}/{one.name}" for one in serving.adapters),
        ),
    )
    return Part(
        entrypoint=argv[:3],
        command=argv[3:],
        secrets=(keys,) if keys else (),
        mounts=mounted((str(source), engine), (serving.chat_template, CHAT_TEMPLATE)),
    )
