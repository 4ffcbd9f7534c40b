"""Options of an engine's build, handed on as one value."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from nimctl.core.trtllm.subject import BuildOptions

_LIMITS = {
    "max_batch_size": "Requests at once.",
    "max_num_tokens": "Tokens of one step, over all requests.",
    "max_seq_len": "Tokens of one request, with its answer.",
    "max_beam_width": "Beams of a beam search.",
}


def build_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--strategy` to `--set`: handed on as one `options`."""

    @wraps(function)
    def wrapper(*args: Any, **kw: Any) -> Any:
        given = {name: kw.pop(name) for name in (*_NAMES, *_LIMITS)}
        return function(*args, options=_options(given), **kw)

    for option in reversed((*_options_of_a_build(), *_limits())):
        wrapper = option(wrapper)
    return wrapper


_NAMES = (
    *("strategy", "builder", "image", "kv_cache", "tp", "pp", "settings", "warm_up"),
    "built_for",
)


def _options_of_a_build() -> tuple[Callable[[Any], Any], ...]:
    return (
        click.option(
            "--strategy",
            type=click.Choice(["prebuilt", "tensorrt", "pytorch", "llama_cpp"]),
            help="How the engine is had; default: what can be, with the reason in the plan.",
        ),
        click.option(
            "--builder",
            type=click.Choice(["auto", "container", "local"]),
            default="auto",
            show_default=True,
            help="Build in TensorRT-LLM's container, or with what is installed here.",
        ),
        click.option("--image", metavar="IMAGE", help="The builder's image; default: the pinned."),
        click.option("--tp", type=click.IntRange(1), help="GPUs that share each layer."),
        click.option("--pp", type=click.IntRange(1), help="GPUs that share the layers."),
        click.option(
            "--kv-cache-dtype",
            "kv_cache",
            type=click.Choice(["auto", "fp8", "int8"]),
            help="Type of the KV cache; default: 8 bits where the weights are.",
        ),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="FLAG=VALUE",
            help="A flag of trtllm-build or of the conversion, such as gemm_plugin=auto.",
        ),
        click.option(
            "--warm-up/--no-warm-up",
            default=True,
            show_default=True,
            help="Strategy pytorch: start the server once, and keep what it compiles.",
        ),
        click.option(
            "--built-for",
            metavar="GPU",
            help="The GPU that an engine from elsewhere was built for, where nothing says it.",
        ),
    )


def _limits() -> tuple[Callable[[Any], Any], ...]:
    return tuple(
        click.option(f"--{name.replace('_', '-')}", name, type=click.IntRange(1), help=text)
        for name, text in _LIMITS.items()
    )


def _options(given: dict[str, Any]) -> "BuildOptions":
    from nimctl.core.gpus import find
    from nimctl.core.trtllm.limits import LimitsWish
    from nimctl.core.trtllm.overrides import parse_settings
    from nimctl.core.trtllm.subject import BuildOptions

    return BuildOptions(
        strategy=given["strategy"],
        builder=given["builder"],
        image=given["image"],
        limits=LimitsWish(**{name: given[name] for name in _LIMITS}),
        kv_cache=given["kv_cache"],
        tp=given["tp"],
        pp=given["pp"],
        settings=parse_settings(given["settings"]),
        warm_up=given["warm_up"],
        built_for=find(given["built_for"]).key if given["built_for"] else None,
    )
