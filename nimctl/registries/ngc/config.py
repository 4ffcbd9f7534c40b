"""The configuration file of NVIDIA's `ngc` tool."""

import configparser
import json
from collections.abc import Mapping
from pathlib import Path

from nimctl.core.errors import UsageError
from nimctl.core.ngc import NgcConfig

_KEY_NAMES = ("apikey", "api_key", "APIKey", "apiKey")


def read_ngc_config(path: Path) -> NgcConfig:
    """Read `~/.ngc/config`: INI with a section `CURRENT`, or JSON; empty if there is none.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return NgcConfig()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{path} cannot be read", cause=reason) from error
    values = _json_values(text) if text.lstrip().startswith("{") else _ini_values(text)
    if values is None:
        raise UsageError(
            f"{path} is neither INI nor JSON", hint="make it again with `ngc config set`"
        )
    keys = [values[name] for name in _KEY_NAMES if values.get(name)]
    return NgcConfig(
        api_key=keys[0] if keys else None,
        org=values.get("org"),
        team=values.get("team"),
    )


def _json_values(text: str) -> Mapping[str, str] | None:
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        return None
    return {name: value for name, value in document.items() if isinstance(value, str)}


def _ini_values(text: str) -> Mapping[str, str] | None:
    # Keys may have percent signs; an interpolation would fail on them and quote them.
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return parser["CURRENT"] if parser.has_section("CURRENT") else {}
