"""nimctl: pack and launch AI models on your own hardware."""

__version__ = "0.1.0"
