"""Observe what doctor looks at. Opens no connection but to the container engine's socket."""

import os
from pathlib import Path

import msgspec

from nimctl.core.doctor import Circumstances, Failed, Login
from nimctl.core.errors import ContainerEngineError
from nimctl.core.http import redacted
from nimctl.tools import Tools


def look(tools: Tools) -> Circumstances:
    """Read the machine, the container engine's properties and the settings."""
    host, failure = tools.host(), None
    try:
        engine = tools.containers.describe()
        host = msgspec.structs.replace(host, container_engine=engine)
    except ContainerEngineError as error:
        failure = Failed(message=error.message, cause=error.cause, hint=error.hint)
    settings = tools.settings
    return Circumstances(
        host=host,
        home=settings.home,
        home_writable=_is_writable(Path(settings.home)),
        engine_failure=failure,
        logins=tuple(_logins(tools)),
        proxies={name: _shown(name, value) for name, value in settings.proxies.items()},
        ca_file=settings.ca_file,
        ca_file_exists=settings.ca_file is None or Path(settings.ca_file).exists(),
    )


def _logins(tools: Tools) -> list[Login]:
    settings = tools.settings
    return [
        Login(registry="ngc", present=tools.registries.ngc_key() is not None),
        Login(registry="hf", present=settings.hf_token is not None),
        *(Login(registry=host, present=True) for host in sorted(settings.logins.auths)),
    ]


def _shown(name: str, value: str) -> str:
    return value if name == "no" else redacted(value if "://" in value else f"http://{value}")


def _is_writable(directory: Path) -> bool:
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    return os.access(directory, os.W_OK)
