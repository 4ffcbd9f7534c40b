"""`nimctl logout`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nimctl.cli.options import output_options, registry_argument

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.settings import Settings


@click.command("logout", help="Forget what `nimctl login` kept for hf, ngc or a registry's host.")
@registry_argument
@output_options
@click.pass_obj
def command(settings: "Settings", /, registry: str, *, output: "Output") -> None:
    """Forget one entry."""
    from nimctl import credentials, keychain
    from nimctl.core.errors import NotFoundError

    path = Path(settings.credentials_file)
    known = credentials.load(path)
    if registry not in known.names():
        there = ", ".join(known.names())
        raise NotFoundError(
            f"nothing is kept for `{registry}`",
            cause=f"there is {there}" if there else "there is nothing at all",
        )
    if registry in known.keyring:
        keychain.forget(registry)
    credentials.save(path, known.without(registry))
    where = "the system's keyring" if registry in known.keyring else path
    output.note(f"removed from {where}")
