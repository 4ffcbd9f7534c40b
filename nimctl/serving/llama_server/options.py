"""The command line: the flags of llama.cpp's `llama-server`, as far as they are of use here.

A flag that llama-server has means what it means there:
https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md. Where the defaults
differ, they are those of a service instead of a desktop: no web page, no access for foreign web
pages, `/metrics` on, a log of errors only. `--embeddings` keeps completions available.
`--grace` and `--die-with-parent` are this program's own.
"""

import argparse
from collections.abc import Sequence


class Options(argparse.Namespace):
    """What the server is started with."""

    model: str
    alias: str | None
    lora: list[str]
    chat_template_file: str | None
    embeddings: bool
    pooling: str | None
    ctx_size: int
    parallel: int
    batch_size: int
    ubatch_size: int
    threads: int
    n_gpu_layers: int
    flash_attn: str
    cache_type_k: str
    cache_type_v: str
    cache_ram: int
    host: str
    port: int
    threads_http: int
    api_key_file: str | None
    cors_origins: str
    verbosity: int
    grace: float
    die_with_parent: int | None


def parse(argv: Sequence[str] | None = None) -> Options:
    """Read the command line; a usage error ends the process with status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m nimctl.serving.llama_server",
        description="Serve one GGUF model over the OpenAI API.",
        allow_abbrev=False,
    )
    _add_model(parser)
    _add_capacity(parser)
    _add_http(parser)
    _add_process(parser)
    return parser.parse_args(argv, namespace=Options())


def _add_model(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", required=True, metavar="FILE", help="GGUF")
    add("--alias", metavar="NAME", help="the model's id in the API")
    add("--lora", action="append", default=[], metavar="FILE", help="adapter, GGUF; repeatable")
    add("--chat-template-file", metavar="FILE", help="Jinja, instead of the model's own")
    add("--embeddings", action="store_true", help="offer /v1/embeddings as well")
    pooling = ("none", "mean", "cls", "last", "rank")
    add("--pooling", choices=pooling, help="of embeddings, instead of the model's own")


def _add_capacity(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    context = (
        "context of all slots together, 0: as much as the model was trained with; each slot has an"
        " equal share, rounded up to 256 and cut to what the model was trained with (%(default)s)"
    )
    add("--ctx-size", type=int, default=0, metavar="TOKENS", help=context)
    add("--parallel", type=_positive, default=1, metavar="N", help="slots (%(default)s)")
    add("--batch-size", type=_positive, default=2048, metavar="TOKENS", help="(%(default)s)")
    add("--ubatch-size", type=_positive, default=512, metavar="TOKENS", help="(%(default)s)")
    add("--threads", type=int, default=-1, metavar="N", help="-1: all cores (%(default)s)")
    add("--n-gpu-layers", type=int, default=-1, metavar="N", help="-1: all (%(default)s)")
    add("--flash-attn", choices=("on", "off", "auto"), default="auto", help="(%(default)s)")
    add("--cache-type-k", default="f16", metavar="TYPE", help="of the KV cache (%(default)s)")
    add("--cache-type-v", default="f16", metavar="TYPE", help="of the KV cache (%(default)s)")
    outside = "for conversations that lost their slot to another (%(default)s)"
    add("--cache-ram", type=int, default=64, metavar="MIB", help=outside)


def _add_http(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", type=int, default=8080, metavar="N", help="0: any free one (%(default)s)")
    # A connection, idle or not, takes a thread; beyond these llama.cpp starts them when needed.
    add("--threads-http", type=_positive, default=128, metavar="N", help="(%(default)s)")
    add("--api-key-file", metavar="FILE", help="one key a line; # begins a comment")
    add("--cors-origins", default="", metavar="ORIGINS", help="whose pages may call (nobody's)")
    add("--metrics", action="store_true", help="always on, because stopping relies on it")


def _add_process(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--verbosity", type=int, default=1, metavar="N", help="3: log requests (%(default)s)")
    grace = "how long running requests may take after SIGTERM (%(default)s); SIGUSR1: no limit"
    add("--grace", type=float, default=30.0, metavar="SECONDS", help=grace)
    parent = "stop as on SIGTERM when this parent process ends"
    add("--die-with-parent", type=int, metavar="PID", help=parent)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
