"""Hugging Face checkpoints to GGUF files.

`conversion.check` is the preflight (no third-party library but msgspec); `convert.convert` writes
the file and needs numpy and gguf. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""
