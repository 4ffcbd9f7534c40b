"""What each backend is started with: pure functions from options to a command line."""

from nimctl.core.memory import Capacity
from nimctl.core.value import Value

# xllamacpp's kernels are compiled for Haswell: without these the process dies of SIGILL.
X86_FEATURES = ("avx2", "fma", "f16c", "bmi2")

# llama.cpp's pool grows on demand from what it starts with; started large, the slowest of 100
# clients waited 155 ms, started small up to 855 ms.
_HTTP_THREADS = 128


class EmbeddedOptions(Value):
    """Options of one embedded llama.cpp server."""

    engine: str
    alias: str
    host: str
    port: int
    capacity: Capacity
    threads: int
    api_key_file: str | None = None
    chat_template: str | None = None
    embeddings: bool = False
    pooling: str | None = None
    lora: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()


def embedded_argv(python: str, options: EmbeddedOptions) -> tuple[str, ...]:
    """The embedded server's command line; its flags are those of llama.cpp's `llama-server`."""
    capacity = options.capacity
    argv = [
        *(python, "-m", "nimctl.serving.llama_server"),
        *("--model", options.engine),
        *("--alias", options.alias),
        *("--host", options.host),
        *("--port", str(options.port)),
        *("--ctx-size", str(capacity.max_model_len * capacity.max_num_seqs)),
        *("--parallel", str(capacity.max_num_seqs)),
        *("--threads", str(options.threads)),
        *("--threads-http", str(_HTTP_THREADS)),
    ]
    if options.api_key_file:
        argv += ["--api-key-file", options.api_key_file]
    if options.chat_template:
        argv += ["--chat-template-file", options.chat_template]
    if options.embeddings:
        argv.append("--embeddings")
    if options.pooling:
        argv += ["--pooling", options.pooling]
    for adapter in options.lora:
        argv += ["--lora", adapter]
    return (*argv, *options.extra)
