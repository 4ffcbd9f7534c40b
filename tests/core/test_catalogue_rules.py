"""What a model file may not say although its types are right."""

from typing import Any

import msgspec
import pytest

from nimctl.core.catalogue import Model
from nimctl.core.catalogue_rules import broken_rules

ARCHITECTURE = {
    "parameters": 4168,
    "layers": 4,
    "hidden_size": 8,
    "intermediate_size": 16,
    "vocabulary": 32,
    "heads": 12,
    "kv_heads": 4,
    "head_dim": 2,
    "context_length": 64,
}
CPU = {"backend": "llama_cpp", "precision": "q4_k_m", "source": "hf://a/b?include=*q4.gguf"}
ENGINE = {"backend": "tensorrt_llm", "precision": "fp8", "source": "hf://a/b", "build": True}
VARIANT = {"backend": "vllm", "precisions": ["bf16", "fp8"], "source": "hf://a/b"}
NIM = {"image": "nvcr.io/nim/a/b:1.0", "source": "https://x.com/y", "ports": {"http": 8000}}


def flaws(file_name: str = "m", **fields: Any) -> list[str]:
    document = {"name": "m", "title": "M", **fields}
    model = msgspec.convert(document, Model)
    return [f"{flaw.place}: {flaw.message}" for flaw in broken_rules(model, file_name)]


def test_a_sound_model_breaks_no_rule() -> None:
    assert (
        flaws(
            reference="hf://a/b",
            architecture=ARCHITECTURE,
            profiles=[CPU, {**ENGINE, "tp": 4, "gpu": "h100_sxm", "target": "latency"}],
            variants=[VARIANT, {**VARIANT, "precisions": ["nvfp4"], "gpus": ["b200"]}],
            nim=NIM,
        )
        == []
    )


@pytest.mark.parametrize(
    ("fields", "sound"),
    [
        ({"parameters": 4200, "parameters_from": "computed"}, True),
        ({"parameters": 5000, "parameters_from": "computed"}, False),
        ({"parameters": 5000, "parameters_from": "card"}, True),
        ({"parameters": 41_680}, False),
        ({"parameters": 10**23}, False),
        ({"parameters": 417}, False),
        # Layers without attention are not counted, so nothing can be compared.
        ({"parameters": 41_680, "attention_layers": 2}, True),
    ],
)
def test_the_number_of_parameters_is_compared_with_the_shape(
    fields: dict[str, Any], *, sound: bool
) -> None:
    found = flaws(architecture=ARCHITECTURE | fields, profiles=[CPU])
    assert ("add up to 4,168" in "".join(found)) is not sound


def test_a_file_is_named_after_its_model() -> None:
    assert flaws("other", nim=NIM) == [
        "name: the file is other.yaml; a model's file is named after it"
    ]


def test_a_model_that_nothing_runs_is_refused() -> None:
    assert flaws() == [": there is no way to run it: give `profiles`, `variants` or `nim`"]


@pytest.mark.parametrize(
    ("fields", "flaw"),
    [
        ({"reference": "hf://a"}, "reference: `hf://a` is not hf://ORG/REPO"),
        ({"reference": "llama"}, "reference: `llama` names no registry"),
        ({"profiles": [{**CPU, "source": "nowhere://a"}]}, "profiles[0].source: `nowhere://`"),
        ({"profiles": [{**CPU, "source": None}]}, "profiles[0]: `source` is missing"),
        (
            {"profiles": [{**CPU, "backend": "lama_cpp"}]},
            "profiles[0].backend: `lama_cpp` is no backend that nimctl knows; did you mean",
        ),
        (
            {"profiles": [{**CPU, "precision": "fp8"}]},
            "profiles[0].precision: `fp8` is no GGUF type",
        ),
        (
            {"profiles": [{**ENGINE, "precision": "q8_0"}]},
            "profiles[0].precision: `q8_0` is no precision of tensorrt_llm",
        ),
        ({"profiles": [{**CPU, "precision": None}]}, "profiles[0]: `precision` is missing"),
        (
            {"variants": [{**VARIANT, "precisions": ["bf16", "fp9"]}]},
            "variants[0].precisions[1]: `fp9` is no precision of vllm that nimctl knows; did you",
        ),
        (
            {"variants": [{**VARIANT, "backend": "vlm"}]},
            "variants[0].backend: `vlm` is no backend that nimctl knows; did you mean `vllm`?",
        ),
        (
            {"profiles": [{**ENGINE, "gpu": "h10"}]},
            "profiles[0].gpu: `h10` is no key of a GPU; did you mean h20",
        ),
        (
            {"profiles": [{**ENGINE, "gpu": "NVIDIA L40S"}]},
            "profiles[0].gpu: `NVIDIA L40S` is no key of a GPU; the key of this GPU is l40s",
        ),
        ({"profiles": [{**ENGINE, "target": "speed"}]}, "profiles[0].target: `speed` is no"),
        ({"profiles": [{**ENGINE, "tp": 0}]}, "profiles[0].tp: 0 is below 1"),
        ({"profiles": [{**ENGINE, "tp": 8}]}, "profiles[0].tp: tp 8 does not divide the 12"),
        ({"profiles": [{**ENGINE, "pp": 5}]}, "profiles[0].pp: pp 5 is more than the 4 layers"),
        ({"profiles": [CPU, CPU]}, "profiles[1]: the same as profiles[0]: llama_cpp-q4_k_m"),
        ({"variants": [{**VARIANT, "gpus": ["b20"]}]}, "variants[0].gpus[0]: `b20` is no key"),
        (
            {"variants": [VARIANT, {**VARIANT, "precisions": ["int4_awq", "fp8"]}]},
            "variants[1]: vllm in fp8 on every GPU is also in variants[0]",
        ),
        ({"nim": {**NIM, "image": "NIM:latest"}}, "nim.image: `NIM:latest` is not HOST/REPO"),
        ({"nim": {**NIM, "ports": {}}}, "nim.ports: no port"),
        ({"nim": {**NIM, "selector": "my tag"}}, "nim.selector: `my tag` is no name"),
        ({"nim": {**NIM, "selector_values": ["a"]}}, "nim.selector_values: there is no"),
        ({"nim": {**NIM, "environment": {"a b": "1"}}}, 'nim.environment["a b"]: this is no name'),
    ],
)
def test_a_broken_rule_is_told_with_its_place(fields: dict[str, Any], flaw: str) -> None:
    (found,) = flaws(**{"architecture": ARCHITECTURE, "nim": NIM, **fields})
    assert flaw in found


@pytest.mark.parametrize(
    ("numbers", "flaw"),
    [
        ({"kv_heads": 5}, "architecture.kv_heads: 5 does not divide 12 heads"),
        ({"experts": 8}, "architecture.experts: `experts` and `experts_per_token` go together"),
        (
            {"experts": 8, "experts_per_token": 9},
            "architecture.experts_per_token: 9 is more than the 8 experts",
        ),
        ({"attention_layers": 5}, "architecture.attention_layers: 5 is more than the 4 layers"),
        ({"active_parameters": 5001}, "architecture.active_parameters: 5001 is more than"),
        (
            {"sliding_window": {"tokens": 8, "layers": 4}},
            "architecture.sliding_window: 4 layers leave none that attends to all tokens",
        ),
        (
            {"attention_layers": 2, "sliding_window": {"tokens": 8, "layers": 2}},
            "architecture.sliding_window: 2 layers leave none that attends to all tokens",
        ),
    ],
)
def test_numbers_that_contradict_each_other_are_told(numbers: dict[str, Any], flaw: str) -> None:
    (found,) = flaws(architecture={**ARCHITECTURE, **numbers}, nim=NIM)
    assert flaw in found
