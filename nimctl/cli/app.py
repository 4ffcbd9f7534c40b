"""The entry point: dispatches to commands; the only place that prints errors and picks a status."""

import importlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

import click

from nimctl import __version__
from nimctl.cli.commands import COMMANDS
from nimctl.core.errors import Exit, NimctlError, Terminated, from_os_error

# The escape is click's: what follows keeps its lines.
_HELP = """From a model's name to an endpoint with an OpenAI-compatible API, on the best engine
here.

\b
  nimctl serve capitals-demo          a demo model, on any machine
  nimctl serve hf://ORG/REPO          a model from Hugging Face
  nimctl list-profiles                what runs here, and why
"""


class Commands(click.Group):
    """A group that imports a command's module when that command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every name, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = importlib.import_module(f"nimctl.cli.{entry.module}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or say which one may have been meant."""
        name = args[0]
        # While a shell completes, the line may say anything.
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            from nimctl.cli.guesses import no_command

            raise no_command(name, args[1:])
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Print the table without importing a command."""
        width = max(map(len, COMMANDS))
        for group in dict.fromkeys(entry.group for entry in COMMANDS.values()):
            with formatter.section(group):
                rows = [
                    (name.ljust(width), entry.help)
                    for name, entry in COMMANDS.items()
                    if entry.group == group
                ]
                formatter.write_dl(rows)


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=_HELP,
    epilog="Exit codes and guides: docs/ in the source, or the README.",
)
@click.version_option(__version__, "-V", "--version", message="nimctl %(version)s")
def nimctl() -> None:
    """Leave all to the commands."""


class Failure(NamedTuple):
    """An error in words, with the status that it ends with."""

    code: Exit
    message: str
    cause: str | None = None
    hint: str | None = None


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run one command and return the exit code; every failure becomes words here."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    # Python has None for a stream that was closed before (`nimctl list >&-`).
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115 - as above
    try:
        with _sigterm_raises():
            return _run(arguments or ["--help"], environ)
    except (BrokenPipeError, SystemExit):
        # The reader has gone (`nimctl list | head`), of which click makes an exit with 1, its only
        # one; Python must not complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except (KeyboardInterrupt, Terminated) as stop:
        return _print(_explain(stop), own)
    except Exception as error:  # noqa: BLE001 - the last resort: a bug must not print a traceback
        if "--debug" in own:
            import traceback

            traceback.print_exc()
        return _print(_explain(error), own)


def leave(status: int) -> NoReturn:
    """End the process. Everything is closed; Python would take 30 ms to take 700 modules apart."""
    for stream in (sys.stdout, sys.stderr):
        # What could not be written was an error already.
        with suppress(OSError):
            stream.flush()
    os._exit(status)


def _run(arguments: list[str], environ: Mapping[str, str] | None) -> int:
    settings = None
    if not {"-h", "--help", "-V", "--version"} & set(arguments):
        # Help and version must work whatever the configuration says, and need not read it.
        from nimctl.settings import load

        settings = load(environ, commands=COMMANDS)
    status = nimctl.main(
        args=arguments,
        prog_name="nimctl",
        standalone_mode=False,
        obj=settings,
        default_map=settings.flags if settings else None,
    )
    return status if isinstance(status, int) else Exit.OK


def _explain(error: BaseException) -> Failure:
    resume = "run the same command again; it goes on where it stopped"
    match error:
        case NimctlError():
            return Failure(error.exit_code, error.message, error.cause, error.hint)
        case KeyboardInterrupt() | click.Abort():
            return Failure(Exit.INTERRUPTED, "interrupted", hint=resume)
        case Terminated():
            return Failure(Exit.TERMINATED, "terminated", hint=resume)
        case click.ClickException():
            from nimctl.cli.guesses import explained

            message, hint = explained(error)
            return Failure(Exit.USAGE, message, hint=hint)
        case OSError() if known := from_os_error(error):
            return Failure(known.exit_code, known.message, known.cause, known.hint)
    what = f"this is a bug in nimctl {__version__}: {type(error).__name__}: {error}"
    return Failure(Exit.BUG, what, hint="run it again with --debug and report what it prints")


def _print(failure: Failure, arguments: Sequence[str]) -> int:
    if failure.code is Exit.USAGE and failure.hint is None:
        named = next((word for word in arguments if word in COMMANDS), None)
        failure = failure._replace(hint=" ".join(filter(None, ("nimctl", named, "--help"))))
    if "--json" in arguments:
        from nimctl.cli.render import error_json

        sys.stderr.write(error_json(*failure[1:], failure.code))
        return failure.code
    lines = [f"error: {failure.message}"]
    lines += [f"cause: {failure.cause}"] if failure.cause else []
    lines += [f"hint: {failure.hint}"] if failure.hint else []
    sys.stderr.write("\n".join(lines) + "\n")
    return failure.code


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    def raise_terminated(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise Terminated

    try:
        previous = signal.signal(signal.SIGTERM, raise_terminated)
    except ValueError:  # not the main thread: the host program owns the signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
