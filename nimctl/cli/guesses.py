"""What people type who know Docker, Ollama or hf, and what nimctl calls it."""

import difflib
import shlex
from collections.abc import Iterable, Sequence
from itertools import takewhile

import click

from nimctl.cli.commands import COMMANDS
from nimctl.core.errors import UsageError

# Each by the command that does what is meant; nearness of letters would make `prune` of `run`.
_COMMANDS = {
    "serve": ("run", "chat", "up", "launch", "deploy"),
    "restart": ("start",),
    "pull": ("download", "get", "fetch", "add", "install"),
    "list": ("ls", "images", "image", "models", "model", "df", "du", "cache"),
    "list-profiles": ("search", "find", "catalog", "catalogue", "available", "recommend", "fit"),
    "inspect": ("show", "describe"),
    "rm": ("delete", "del", "remove", "rmi", "uninstall"),
    "prune": ("clean", "cleanup", "gc", "purge"),
    "ps": ("status", "servers", "containers", "container", "top", "stats"),
    "stop": ("kill", "down", "halt", "unload"),
    "logs": ("tail", "attach"),
    "build-engine": ("build", "convert", "quantize", "quantise", "compile", "create", "optimize"),
    "engines": ("engine",),
    "engines export": ("export", "save"),
    "engines import": ("import", "load"),
    "profiles": ("profile",),
    "push": ("upload", "publish"),
    "doctor": ("info", "check", "system", "gpu", "gpus", "devices", "whoami", "env", "diagnose"),
    "login": ("auth",),
    "prune --kernels": ("kernels",),
    "--version": ("version",),
    "--help": ("help",),
}
_MEANT = {guess: meant for meant, guesses in _COMMANDS.items() for guess in guesses}
_BELOW = {
    ("engines", "list"): "engines",
    ("engines", "ls"): "engines",
    ("engines", "build"): "build-engine",
    ("engines", "inspect"): "engines --json",
    ("profiles", "list"): "list-profiles",
    ("profiles", "ls"): "list-profiles",
    ("profiles", "show"): "list-profiles",
}
_COMPLETION = 'eval "$(_NIMCTL_COMPLETE=bash_source nimctl)", or zsh_source, fish_source'
# The first that the command has.
_OPTIONS = {
    "--format": ("--json",),
    "--output": ("--json",),
    "-o": ("--json",),
    "--background": ("--detach",),
    "--daemon": ("--detach",),
    "-n": ("--tail",),
    "--lines": ("--tail",),
    "--token": ("--password-stdin",),
    "--password": ("--password-stdin",),
    "-p": ("--password-stdin",),
    "--api-key": ("--api-key-file",),
    "--dtype": ("--precision",),
    "--quantization": ("--precision",),
    "--gpus": ("--gpu",),
    "--device": ("--gpus", "--gpu"),
    "--ctx-size": ("--max-model-len",),
    "--context-length": ("--max-model-len",),
    "--num-ctx": ("--max-model-len",),
    "--max-seq-len": ("--max-model-len",),
    "--parallel": ("--max-num-seqs",),
    "--local-dir": ("--model-store",),
    "--engine": ("--backend",),
    "--download-dir": ("--model-store",),
}
_LIKENESS = 0.7
_SERVERS = "nimctl ps --all lists the servers"
_STORED = "nimctl list shows what is in the store"
_CATALOGUE = "nimctl list-profiles shows the catalogue; hf://ORG/REPO and others work too"
_NAMES = {
    **dict.fromkeys(("logs", "restart", "stop", "update"), _SERVERS),
    **dict.fromkeys(("inspect", "rm", "push", "mirror"), _STORED),
    **dict.fromkeys(("serve", "pull", "build-engine", "versions"), _CATALOGUE),
    "login": "nimctl login hf, nimctl login ngc, or nimctl login HOST",
    "logout": "nimctl logout hf, nimctl logout ngc, or nimctl logout HOST",
    **dict.fromkeys(("engines export", "engines log", "engines rm"), "nimctl engines lists them"),
}


def no_command(name: str, rest: Sequence[str]) -> UsageError:
    """There is no such command; which one does it, as the line to type."""
    problem = f"there is no command `{name}`"
    if name in ("completion", "completions"):
        return UsageError(problem, hint=_COMPLETION)
    # Options of another program mean something else here, if anything.
    words = list(takewhile(lambda word: not word.startswith("-"), rest))
    if name == "help" and words[:1] and words[0] in COMMANDS:
        return UsageError(problem, hint=f"nimctl {words[0]} --help")
    meant = _MEANT.get(name.lower()) or _nearest(name, COMMANDS)
    if meant is None:
        return UsageError(problem, hint="nimctl --help")
    line = meant if meant.startswith("-") else shlex.join([*meant.split(), *words])
    return UsageError(f"{problem}, did you mean `nimctl {meant}`?", hint=f"nimctl {line}")


class Subcommands(click.Group):
    """A group below another command, which answers a wrong guess."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or say which one may have been meant."""
        name = args[0]
        if name in self.commands or name.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        meant = _BELOW.get((ctx.info_name or "", name))
        raise UsageError(
            f"there is no command `{ctx.command_path} {name}`",
            hint=f"nimctl {meant}" if meant else f"{ctx.command_path} --help",
        )


def explained(error: click.ClickException) -> tuple[str, str | None]:
    """What is wrong in click's words, or in better ones, and the next step."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return _lower(error.format_message()), None
    help_line = f"{context.command_path} --help"
    match error:
        case click.NoSuchOption():
            return _no_option(error.option_name, context)
        case click.MissingParameter():
            return _lower(error.format_message()), _names(error, context) or help_line
    return _lower(error.format_message()), help_line


def _names(error: click.MissingParameter, context: click.Context) -> str | None:
    """What shows the names of which the first is missing."""
    arguments = (one for one in context.command.params if isinstance(one, click.Argument))
    first = next(arguments, None)
    return _NAMES.get(context.command_path.partition(" ")[2]) if error.param is first else None


def _no_option(name: str, context: click.Context) -> tuple[str, str]:
    there = [opt for one in context.command.get_params(context) for opt in _spellings(one)]
    known = next((one for one in _OPTIONS.get(name, ()) if one in there), None)
    meant = known or _nearest(name, there)
    hint = f"{context.command_path} --help"
    if meant is not None:
        return f"no such option {name}, did you mean {meant}?", hint
    if context.info_name == "serve" and name.startswith("--"):
        hint += f"; what is the engine's stands last: -- {name} …"
    return f"no such option {name}", hint


def _spellings(parameter: click.Parameter) -> Iterable[str]:
    if isinstance(parameter, click.Option):
        yield from (*parameter.opts, *parameter.secondary_opts)


def _nearest(name: str, names: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=_LIKENESS)), None)


def _lower(message: str) -> str:
    text = message.rstrip(".")
    text = text.replace("is not a valid integer range", "is no whole number")
    text = text.replace("is not a valid float range", "is no number")
    return text[:1].lower() + text[1:]
