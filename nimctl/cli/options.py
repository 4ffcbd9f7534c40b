"""Options that several commands share."""

import shlex
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nimctl.cli.completion import complete_gpu, complete_model, complete_profile

if TYPE_CHECKING:
    from typing import BinaryIO

    from nimctl.core.machine import Host
    from nimctl.core.nim_manifest import ManifestSource
    from nimctl.core.profile import Wish
    from nimctl.core.refs import ModelRef

Command = TypeVar("Command", bound=Callable[..., Any])
# A machine with 1,024 GPUs that are all linked takes 4.5 MB.
_HOST_BYTES = 16 * 2**20
_REGISTRIES = {
    **dict.fromkeys(("hf", "huggingface", "huggingface.co", "hf.co"), "hf"),
    **dict.fromkeys(("ngc", "nvidia", "ngc.nvidia.com"), "ngc"),
}
_MODEL_FILES = (".gguf", ".safetensors", ".tar", ".gz", ".tgz", ".zip", ".zst", ".nemo")


def output_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--json`, `--quiet`, `--verbose`, `--progress`, `--debug`: handed on as one `output`."""

    @wraps(function)
    def wrapper(
        *args: Any, as_json: bool, quiet: bool, verbose: bool, progress: str, debug: bool, **kw: Any
    ) -> Any:
        del debug  # main() looks for it in argv, because an error may come before this
        from nimctl.cli.render import Output

        output = Output(as_json=as_json, quiet=quiet, verbose=verbose, progress=progress)
        return function(*args, output=output, **kw)

    for option in (
        click.option("--debug", is_flag=True, help="Show a traceback on failure."),
        click.option(
            "--progress",
            type=click.Choice(["auto", "tty", "plain", "json", "none"]),
            default="auto",
            show_default=True,
            help="How progress is shown, on stderr; json is one event a line.",
        ),
        click.option("-v", "--verbose", is_flag=True, help="Name every step."),
        click.option("-q", "--quiet", is_flag=True, help="Print data only."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    ):
        wrapper = option(wrapper)
    return wrapper


def wish_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--profile`, `--tags`, `--backend`, `--precision`, `--target`: handed on as one `wish`.

    Without `--profile` and `--tags`, what NIM's own variables say holds.
    """

    @wraps(function)
    def wrapper(
        *args: Any,
        profile: str | None,
        tags: str | None,
        backend: str | None,
        precision: str | None,
        target: str | None,
        **kw: Any,
    ) -> Any:
        wish = _wish(profile, tags, backend=backend, precision=precision, target=target)
        return function(*args, wish=wish, **kw)

    for option in (
        click.option(
            "--target",
            type=click.Choice(["latency", "throughput"]),
            help="Only profiles made for low latency, or for throughput.",
        ),
        click.option("--precision", metavar="NAME", help="Only profiles of this precision."),
        click.option("--backend", metavar="NAME", help="Only profiles of this backend."),
        click.option("--tags", metavar="TAG=VALUE,...", help="Only profiles with these tags."),
        click.option(
            "--profile",
            metavar="NAME|ID",
            shell_complete=complete_profile,
            help="The profile, by its name or the beginning of its id.",
        ),
    ):
        wrapper = option(wrapper)
    return wrapper


def offline_option(function: Command) -> Command:
    """`--offline`."""
    return click.option("--offline", is_flag=True, help="Open no connection; use the store only.")(
        function
    )


def dry_run_option(function: Command) -> Command:
    """`--dry-run`."""
    return click.option(
        "--dry-run", is_flag=True, help="Print the commands that would run, and stop."
    )(function)


def machine_options(*file_options: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--gpu`, `--host`: handed on as `machine`, the Host to plan for, None for this one.

    `file_options` are other names for `--host`, where that means something else.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapper(
            *args: Any, gpus: tuple[str, ...], host_file: "BinaryIO | None", **kw: Any
        ) -> Any:
            return function(*args, machine=_machine(gpus, host_file), **kw)

        for option in (
            click.option(
                *(file_options or ("--host",)),
                "host_file",
                type=click.File("rb"),
                metavar="FILE",
                help="Plan for the machine that `doctor --json` printed; - is stdin.",
            ),
            click.option(
                "--gpu",
                "gpus",
                multiple=True,
                metavar="GPU[:COUNT]",
                shell_complete=complete_gpu,
                help="Plan for other hardware, such as h100_sxm:8; may be repeated.",
            ),
        ):
            wrapper = option(wrapper)
        return wrapper

    return decorate


def manifest_options(*pull_options: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--manifest`, `--endpoint`, `--image`, `--pull-image`: handed on as `manifest`, a source.

    It is None where none is given. `pull_options` are more names for the last one.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapper(
            *args: Any, file: str | None, endpoint: str | None, image: str | None, **kw: Any
        ) -> Any:
            return function(*args, manifest=_manifest_source(file, endpoint, image), **kw)

        for option in (
            click.option(
                "--pull-image",
                *pull_options,
                "pull_image",
                is_flag=True,
                help="Pull the image of --image if it is not on this machine.",
            ),
            click.option(
                "--image", metavar="IMAGE", help="The NIM manifest in an image, never started."
            ),
            click.option("--endpoint", metavar="URL", help="The NIM manifest of a running server."),
            click.option(
                "--manifest",
                "file",
                metavar="FILE",
                type=click.Path(allow_dash=True),
                help="A NIM manifest; - is stdin.",
            ),
        ):
            wrapper = option(wrapper)
        return wrapper

    return decorate


def only_planned(machine: "Host | None", *, dry_run: bool) -> None:
    """Refuse to act on a machine that is only planned for."""
    from nimctl.core.errors import UsageError

    if machine is not None and not dry_run:
        raise UsageError(
            "a plan for other hardware can only be printed", hint="add --dry-run to --gpu or a host"
        )


def model_argument(function: Command) -> Command:
    """`MODEL`, as text: commands parse it when they run."""
    return click.argument("model", metavar="MODEL", shell_complete=complete_model)(function)


def registry_argument(function: Command) -> Command:
    """`REGISTRY`: hf, ngc or a host; sites that people name instead stand for the first two."""

    def meant(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
        return _REGISTRIES.get(value.lower(), value)

    return click.argument("registry", metavar="REGISTRY", callback=meant)(function)


def parse_reference(text: str) -> "ModelRef":
    """Text to a model reference; one that another tool would take is answered by nimctl's."""
    from nimctl.core.errors import OtherReferenceError, UsageError
    from nimctl.core.refs import ModelRef

    if "://" not in text and _is_file(text):
        raise UsageError(
            f"`{text}` is a path, not a model reference", hint=_again(Path(text).resolve().as_uri())
        )
    try:
        return ModelRef.parse(text)
    except OtherReferenceError as error:
        raise UsageError(error.message, hint=_again(error.meant)) from None


def _is_file(text: str) -> bool:
    """Whether a path was meant, which is then said with its absolute form."""
    if text.startswith(("/", "./", "../", "~")) or text in (".", ".."):
        return True
    return Path(text).suffix in _MODEL_FILES and Path(text).exists()


def _again(reference: str) -> str:
    """The command that was given, with another reference."""
    return f"{click.get_current_context().command_path} {shlex.quote(reference)}"


def _wish(
    profile: str | None,
    tags: str | None,
    *,
    backend: str | None,
    precision: str | None,
    target: str | None,
) -> "Wish":
    from nimctl.core.profile import Wish

    settings = click.get_current_context().obj
    named_by = "--profile"
    if profile is None and tags is None:
        profile, tags, named_by = settings.nim_profile, settings.nim_tags, "NIM_MODEL_PROFILE"
    return Wish(
        # NIM takes `default` for its own choice.
        profile=None if profile == "default" else profile,
        named_by=named_by,
        backend=backend,
        precision=precision,
        target=target,
        tags=_tags(tags),
        lora=settings.nim_adapters is not None,
    )


def _tags(text: str | None) -> dict[str, str]:
    from nimctl.core.errors import UsageError

    pairs = [pair.partition("=") for pair in (text or "").split(",") if pair.strip()]
    if not all(equals for _, equals, _ in pairs):
        raise UsageError(f"`{text}` is no list of tags", hint="write tag=value,tag=value")
    tags = [tag.strip() for tag, _, _ in pairs]
    twice = next((tag for tag in tags if tags.count(tag) > 1), None)
    if twice is not None:
        raise UsageError(f"`{text}` has the tag {twice} twice", hint="a tag has one value")
    return {tag: value.strip() for tag, (_, _, value) in zip(tags, pairs, strict=True)}


def _manifest_source(
    file: str | None, endpoint: str | None, image: str | None
) -> "ManifestSource | None":
    from nimctl.core.errors import UsageError
    from nimctl.core.nim_manifest import ManifestSource

    sources = (
        ManifestSource(kind="file", place=file) if file is not None else None,
        ManifestSource(kind="endpoint", place=endpoint) if endpoint is not None else None,
        ManifestSource(kind="image", place=image) if image is not None else None,
    )
    given = [source for source in sources if source]
    if len(given) > 1:
        raise UsageError(
            "--manifest, --endpoint and --image each name a manifest", hint="give one of them"
        )
    return given[0] if given else None


def _machine(gpus: tuple[str, ...], host_file: "BinaryIO | None") -> "Host | None":
    from nimctl.core.errors import UsageError
    from nimctl.core.planned import planned_host, read_host

    if gpus and host_file is not None:
        raise UsageError(
            "--gpu and a host's file both say what to plan for", hint="give one of them"
        )
    if host_file is not None:
        return read_host(host_file.read(_HOST_BYTES))
    return planned_host(gpus) if gpus else None
