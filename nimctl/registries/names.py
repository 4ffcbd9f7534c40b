"""The checks of names that registries give; they live in the core, where all adapters find them."""

from nimctl.core.names import checked_digest, near, safe_name, safe_path, safe_paths

__all__ = ["checked_digest", "near", "safe_name", "safe_path", "safe_paths"]
