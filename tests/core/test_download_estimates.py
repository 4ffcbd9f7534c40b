"""About how much there is to download, before a registry was asked."""

import pytest
from architectures import LLAMA_8B

from nimctl.core.catalogue import Model, Variant
from nimctl.core.download_estimates import download_estimates
from nimctl.core.profile import Profile

MODEL = Model(
    name="llama-3.1-8b-instruct",
    title="Llama 3.1 8B Instruct",
    architecture=LLAMA_8B,
    variants=(
        Variant(backend="tensorrt_llm", precisions=("fp8", "int4_awq"), source="bf16", build=True),
        Variant(backend="vllm", precisions=("bf16",), source="bf16"),
        Variant(backend="tensorrt_llm", precisions=("int4_awq",), source="built only", build=True),
    ),
    profiles=(
        Profile(backend="llama_cpp", precision="q8_0", source="q8_0"),
        Profile(backend="llama_cpp", precision="q4_k_m", source="q4_k_m"),
        Profile(backend="llama_cpp", precision="iq3_xxs", source="iq3_xxs"),
        Profile(backend="nim"),
    ),
)


@pytest.mark.parametrize(
    ("source", "published"),
    [
        # `total_size` of its model.safetensors.index.json.
        ("bf16", 16_060_522_496),
        # https://huggingface.co/bartowski/Meta-Llama-3.1-8B-Instruct-GGUF
        ("q8_0", 8.5e9),
        ("q4_k_m", 4.9e9),
    ],
)
def test_an_estimate_is_near_what_was_published(source: str, published: float) -> None:
    assert download_estimates(MODEL)[source] == pytest.approx(published, rel=0.01)


def test_nothing_is_said_of_what_nothing_tells_of() -> None:
    assert set(download_estimates(MODEL)) == {"bf16", "q8_0", "q4_k_m"}
    unknown = Model(name="x", title="X", variants=MODEL.variants)
    assert download_estimates(unknown) == {}
