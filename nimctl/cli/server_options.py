"""Options of the commands that start, stop and replace servers."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def environment_option(help: str) -> Callable[[Command], Command]:  # noqa: A002 - click's own word
    """`--env`: variables of the container."""
    return click.option(
        "-e", "--env", "environment", multiple=True, metavar="NAME[=VALUE]", help=help
    )


def pull_option(function: Command) -> Command:
    """`--pull`: when the image is pulled."""
    return click.option(
        "--pull",
        type=click.Choice(["missing", "always", "never"]),
        default="missing",
        show_default=True,
        help="When the image is pulled.",
    )(function)


def timeout_option(function: Command) -> Command:
    """`--timeout`: how long a server may take to be ready."""
    return click.option(
        "--timeout", "timeout_s", type=click.FloatRange(min=0.1), help="Seconds to be ready."
    )(function)


def grace_option(function: Command) -> Command:
    """`--time`: how long a server may take to end."""
    return click.option(
        "-t",
        "--time",
        "grace_s",
        type=click.FloatRange(min=0),
        default=35,
        show_default=True,
        help="Seconds until a server that does not end is killed.",
    )(function)
