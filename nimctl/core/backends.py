"""What each backend is started with: pure functions from options to a command line."""

from nimctl.core.memory import Capacity
from nimctl.core.value import Value

# xllamacpp's kernels are compiled for Haswell: without these the process dies of SIGILL.
X86_FEATURES = ("avx2", "fma", "f16c", "bmi2")

# cpp-httplib pins one thread to each keep-alive connection; with its default of about ten, 32
# clients with idle connections starve /health.
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
        # A decoder has no pooling of its own, and /v1/embeddings refuses to answer without one.
        argv += ["--embeddings", "--pooling", "mean"]
    for adapter in options.lora:
        argv += ["--lora", adapter]
    return (*argv, *options.extra)
