"""Chat templates: one text, or several with names of which `default` is the usual one."""

from pathlib import Path

from nimctl.engines.gguf.metadata import Metadata
from nimctl.engines.gguf.refusals import corrupt
from nimctl.engines.gguf.tokenizer_config import TokenizerConfig

CHAT_TEMPLATE_FILE = "chat_template.jinja"
_KEY = "tokenizer.chat_template"


def chat_templates(checkpoint: Path, config: TokenizerConfig) -> Metadata:
    """Find a checkpoint's chat templates; the file comes before the configuration.

    Raises:
        VerificationError: The file is no UTF-8.
    """
    file = checkpoint / CHAT_TEMPLATE_FILE
    if file.exists():
        try:
            return {_KEY: file.read_bytes().decode()}
        except UnicodeDecodeError as error:
            raise corrupt(file, str(error)) from error
    if isinstance(config.chat_template, str):
        return {_KEY: config.chat_template}
    templates = {one.name: one.template for one in config.chat_template or []}
    names = [name for name in templates if name != "default"]
    metadata: Metadata = {f"{_KEY}.{name}": templates[name] for name in names}
    if names:
        metadata[f"{_KEY}s"] = names
    if "default" in templates:
        metadata[_KEY] = templates["default"]
    return metadata
