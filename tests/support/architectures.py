"""Architectures of well-known models, from their `config.json` on Hugging Face."""

from nimctl.core.architecture import Architecture

# https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct/blob/main/config.json
LLAMA_8B = Architecture(
    parameters=8_030_261_248,
    layers=32,
    hidden_size=4096,
    intermediate_size=14336,
    vocabulary=128256,
    heads=32,
    kv_heads=8,
    head_dim=128,
    context_length=131072,
)
# https://huggingface.co/meta-llama/Llama-3.1-70B-Instruct/blob/main/config.json
LLAMA_70B = Architecture(
    parameters=70_553_706_496,
    layers=80,
    hidden_size=8192,
    intermediate_size=28672,
    vocabulary=128256,
    heads=64,
    kv_heads=8,
    head_dim=128,
    context_length=131072,
)
