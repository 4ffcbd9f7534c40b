"""Models in Ollama's registry: `ollama://[NAMESPACE/]NAME[:TAG]`.

It speaks the distribution API, and layers are told apart by their media types:
https://github.com/ollama/ollama/blob/main/server/create.go. Nothing was tried against
registry.ollama.ai; Docker's registry takes manifests of that form.
"""

from nimctl.registries.ollama.key import OllamaKey
from nimctl.registries.ollama.registry import OllamaRegistry

__all__ = ["OllamaKey", "OllamaRegistry"]
