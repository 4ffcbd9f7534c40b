"""Models that no catalogue lists: what the files of their checkpoints say."""

import json

from nimctl.core.catalogue import Model
from nimctl.core.checkpoint import CONFIG_FILE, read_checkpoint
from nimctl.core.errors import VerificationError
from nimctl.core.facts import Artifact
from nimctl.core.refs import ModelRef
from nimctl.core.trtllm.subject import QUANTISED_MARK
from nimctl.core.unlisted import unlisted_model
from nimctl.tools import Tools


def model_of(ref: ModelRef, artifact: Artifact, tools: Tools) -> Model:
    """What can be done with an artifact.

    Raises:
        UnsupportedModelError: Nothing that is known can run it.
        VerificationError: Its configuration is no JSON object.
    """
    config = _object(CONFIG_FILE, ref, artifact, tools)
    if "quantization_config" not in config:
        # ModelOpt wrote its own file before it wrote into this one too.
        apart = _object(QUANTISED_MARK, ref, artifact, tools).get("quantization")
        config = config | ({"quantization_config": apart} if isinstance(apart, dict) else {})
    return unlisted_model(ref, artifact, read_checkpoint(config))


def _object(path: str, ref: ModelRef, artifact: Artifact, tools: Tools) -> dict[str, object]:
    file = next((one for one in artifact.files if one.path == path), None)
    if file is None:
        return {}
    if file.sha256 and tools.blobs.has(file.sha256):
        data = tools.blobs.path(file.sha256).read_bytes()
    else:
        data = tools.transfer.peek(file, tools.registries.find(ref.scheme).locate)
    try:
        found = json.loads(data)
    except ValueError as error:
        raise VerificationError(f"{file.url} is no valid JSON", cause=str(error)) from error
    if not isinstance(found, dict):
        raise VerificationError(f"{file.url} is no JSON object")
    return found
