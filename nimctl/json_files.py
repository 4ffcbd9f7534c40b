"""JSON files of an artifact: from the store or, before they are fetched, from their registry."""

import json

from nimctl.core.errors import VerificationError
from nimctl.core.facts import Artifact
from nimctl.core.refs import ModelRef
from nimctl.tools import Tools


def read_bytes(path: str, artifact: Artifact, tools: Tools) -> bytes | None:
    """A small file of an artifact; None when it has none of this path."""
    file = next((one for one in artifact.files if one.path == path), None)
    if file is None:
        return None
    if file.sha256 and tools.blobs.has(file.sha256):
        return tools.blobs.path(file.sha256).read_bytes()
    scheme = ModelRef.parse(artifact.reference).scheme
    return tools.transfer.peek(file, tools.registries.find(scheme).locate)


def read_object(path: str, artifact: Artifact, tools: Tools) -> dict[str, object]:
    """A JSON object in an artifact; empty when it has no file of this path.

    Raises:
        VerificationError: The file is no JSON object.
    """
    data = read_bytes(path, artifact, tools)
    if data is None:
        return {}
    where = next(one.url for one in artifact.files if one.path == path)
    try:
        found = json.loads(data)
    except ValueError as error:
        raise VerificationError(f"{where} is no valid JSON", cause=str(error)) from error
    if not isinstance(found, dict):
        raise VerificationError(f"{where} is no JSON object")
    return found
