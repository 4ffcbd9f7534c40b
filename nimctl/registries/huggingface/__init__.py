"""The Hugging Face Hub, a mirror of it, or what its own tools have cached."""

from nimctl.registries.huggingface.cache import HubCache
from nimctl.registries.huggingface.offline import OfflineHub
from nimctl.registries.huggingface.registry import HuggingFaceRegistry

__all__ = ["HubCache", "HuggingFaceRegistry", "OfflineHub"]
