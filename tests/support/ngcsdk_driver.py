"""Runs methods of the real `ngcsdk`; started with an interpreter that has it.

argv: a JSON list of `[method, argument, ...]` of `client.registry.model`. The key and the
organisation come from the environment. Prints the results as a JSON list.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Do what argv says."""
    client: Any = importlib.import_module("ngcsdk").Client()
    results = []
    for method, *arguments in json.loads(sys.argv[1]):
        if method == "download_version":
            Path(arguments[1]).mkdir(parents=True)
        results.append(_plain(getattr(client.registry.model, method)(*arguments)))
    sys.stdout.write(f"\n{json.dumps(results, default=str)}\n")


def _plain(result: Any) -> Any:
    if hasattr(result, "toDict"):
        return result.toDict()
    if isinstance(result, str | int | float | bool | dict | None):
        return result
    return [_plain(one) for one in result]


if __name__ == "__main__":
    main()
