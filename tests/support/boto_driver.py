"""Runs calls of the real boto3; started with an interpreter that has it.

argv: the endpoint. stdin: a JSON list of `[service, method, arguments]`; `{"base64": …}` stands for
bytes. Prints the results as a JSON list, with the bodies of objects in base64.
"""

import base64
import importlib
import json
import sys
from typing import Any


def main() -> None:
    """Do what stdin says."""
    session: Any = importlib.import_module("boto3").Session(region_name="us-east-1")
    clients: dict[str, Any] = {}
    results = []
    for service, method, arguments in json.load(sys.stdin):
        if service not in clients:
            clients[service] = session.client(service, endpoint_url=sys.argv[1])
        given = {name: _bytes(value) for name, value in arguments.items()}
        result = getattr(clients[service], method)(**given)
        if "Body" in result:
            result["Body"] = base64.b64encode(result["Body"].read()).decode()
        results.append(result)
    sys.stdout.write(json.dumps(results, default=str))


def _bytes(value: Any) -> Any:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else value


if __name__ == "__main__":
    main()
