"""Models that no catalogue lists: what the files of their checkpoints say."""

from nimctl import prebuilts
from nimctl.core.catalogue import Model
from nimctl.core.checkpoint import CONFIG_FILE, read_checkpoint
from nimctl.core.facts import Artifact
from nimctl.core.refs import ModelRef
from nimctl.core.trtllm.subject import QUANTISED_MARK
from nimctl.core.unlisted import model_of_engine, unlisted_model
from nimctl.json_files import read_object
from nimctl.tools import Tools


def model_of(ref: ModelRef, artifact: Artifact, tools: Tools) -> Model:
    """What can be done with an artifact.

    Raises:
        UnsupportedModelError: Nothing that is known can run it.
        VerificationError: Its configuration is no JSON object, or its engine is not whole.
    """
    engine = prebuilts.engine_in(artifact, tools)
    if engine is not None:
        return model_of_engine(ref, engine)
    config = read_object(CONFIG_FILE, artifact, tools)
    if "quantization_config" not in config:
        # ModelOpt wrote its own file before it wrote into this one too.
        apart = read_object(QUANTISED_MARK, artifact, tools).get("quantization")
        config = config | ({"quantization_config": apart} if isinstance(apart, dict) else {})
    return unlisted_model(ref, artifact, read_checkpoint(config))
