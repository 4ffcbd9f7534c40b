"""`nimctl login`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nimctl.cli.options import output_options, registry_argument
from nimctl.core.errors import UsageError

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.settings import Settings


@click.command(
    "login",
    help="""Keep a token or password in a file that only you can read.

REGISTRY is hf (Hugging Face), ngc, or the host of an OCI registry. The secret is asked for, or read
from standard input; it is never an argument. HF_TOKEN and NGC_API_KEY go before what is kept. With
--keyring, which needs the extra `keyring`, it lies in the system's keyring instead of a file.""",
)
@registry_argument
@click.option("-u", "--username", metavar="NAME", help="User name, for an OCI registry.")
@click.option("--password-stdin", is_flag=True, help="Read the secret from standard input.")
@click.option("--keyring", is_flag=True, help="Keep it in the system's keyring.")
@output_options
@click.pass_obj
def command(
    settings: "Settings",
    /,
    registry: str,
    *,
    username: str | None,
    password_stdin: bool,
    keyring: bool,
    output: "Output",
) -> None:
    """Ask, and keep."""
    from nimctl import credentials, keychain

    path = Path(settings.credentials_file)
    known = credentials.load(path)
    if registry not in ("hf", "ngc") and not username:
        if not sys.stdin.isatty():
            raise _unasked("--username", "nimctl login ngc" if registry == "nvcr.io" else None)
        username = click.prompt("User name", err=True)
    secret = _secret(registry, from_stdin=password_stdin)
    if keyring:
        keychain.keep(registry, secret)
        credentials.save(path, known.having_in_keyring(registry, username))
        output.note("kept in the system's keyring")
        return
    credentials.save(path, known.having(registry, username, secret))
    if registry in known.keyring:
        keychain.forget(registry)
    output.note(f"kept in {path}")


def _unasked(option: str, otherwise: str | None = None) -> UsageError:
    hint = f"nimctl login --help; or {otherwise}" if otherwise else "nimctl login --help"
    return UsageError(f"there is no terminal to ask on; give {option}", hint=hint)


def _secret(registry: str, *, from_stdin: bool) -> str:
    if from_stdin:
        secret = sys.stdin.readline().strip()
    elif sys.stdin.isatty():
        secret = click.prompt(f"Secret for {registry}", hide_input=True, err=True).strip()
    else:
        raise _unasked("--password-stdin")
    if not secret:
        raise click.UsageError("the secret is empty")
    return secret
