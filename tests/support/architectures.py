"""Architectures of well-known models, from their `config.json` on Hugging Face."""

from nimctl.core.architecture import Architecture, SlidingWindow

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

# https://huggingface.co/meta-llama/Llama-2-7b-hf/blob/main/config.json
LLAMA_2_7B = Architecture(
    parameters=6_738_415_616,
    layers=32,
    hidden_size=4096,
    intermediate_size=11008,
    vocabulary=32000,
    heads=32,
    kv_heads=32,
    head_dim=128,
    context_length=4096,
)
# https://huggingface.co/codellama/CodeLlama-13b-Instruct-hf/blob/main/config.json
CODE_LLAMA_13B = Architecture(
    parameters=13_016_028_160,
    layers=40,
    hidden_size=5120,
    intermediate_size=13824,
    vocabulary=32016,
    heads=40,
    kv_heads=40,
    head_dim=128,
    context_length=16384,
)
# https://huggingface.co/mistralai/Mistral-7B-Instruct-v0.3/blob/main/config.json
MISTRAL_7B = Architecture(
    parameters=7_248_023_552,
    layers=32,
    hidden_size=4096,
    intermediate_size=14336,
    vocabulary=32768,
    heads=32,
    kv_heads=8,
    head_dim=128,
    context_length=32768,
)
# https://huggingface.co/mistralai/Mixtral-8x7B-Instruct-v0.1/blob/main/config.json
MIXTRAL_8X7B = Architecture(
    parameters=46_702_792_704,
    layers=32,
    hidden_size=4096,
    intermediate_size=14336,
    vocabulary=32000,
    heads=32,
    kv_heads=8,
    head_dim=128,
    context_length=32768,
    experts=8,
)
# https://huggingface.co/Qwen/Qwen2.5-7B-Instruct/blob/main/config.json
QWEN_7B = Architecture(
    parameters=7_615_616_512,
    layers=28,
    hidden_size=3584,
    intermediate_size=18944,
    vocabulary=152064,
    heads=28,
    kv_heads=4,
    head_dim=128,
    context_length=32768,
)
# https://huggingface.co/Qwen/Qwen3-0.6B/blob/main/config.json
QWEN_600M = Architecture(
    parameters=596_049_920,
    layers=28,
    hidden_size=1024,
    intermediate_size=3072,
    vocabulary=151936,
    heads=16,
    kv_heads=8,
    head_dim=128,
    context_length=40960,
    tied_embeddings=True,
)

# https://huggingface.co/openai/gpt-oss-20b/blob/main/config.json
GPT_OSS_20B = Architecture(
    parameters=20_914_757_184,
    layers=24,
    hidden_size=2880,
    intermediate_size=2880,
    vocabulary=201088,
    heads=64,
    kv_heads=8,
    head_dim=64,
    context_length=131072,
    experts=32,
)

# https://huggingface.co/google/gemma-3-27b-it/blob/main/config.json
GEMMA_3_27B = Architecture(
    parameters=27_432_406_640,
    layers=62,
    hidden_size=5376,
    intermediate_size=21504,
    vocabulary=262208,
    heads=32,
    kv_heads=16,
    head_dim=128,
    context_length=131072,
    tied_embeddings=True,
    sliding_window=SlidingWindow(tokens=1024, layers=52),
)
