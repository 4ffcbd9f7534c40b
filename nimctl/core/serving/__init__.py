"""What each backend's container is created with: a table, and one pure function a backend."""

from nimctl.core.serving.backends import BACKENDS, Backend
from nimctl.core.serving.nim import PINNED
from nimctl.core.serving.render import container, with_labels
from nimctl.core.serving.serving import Adapter, Serving

__all__ = ["BACKENDS", "PINNED", "Adapter", "Backend", "Serving", "container", "with_labels"]
