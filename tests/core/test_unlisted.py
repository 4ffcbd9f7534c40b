from collections.abc import Mapping

import pytest

from nimctl.core.architecture import SlidingWindow
from nimctl.core.checkpoint import Checkpoint, class_name, read_architecture, read_checkpoint
from nimctl.core.errors import UnsupportedModelError, UsageError
from nimctl.core.facts import Artifact, File
from nimctl.core.refs import ModelRef
from nimctl.core.unlisted import gguf_file, unlisted_model

REF = ModelRef.parse("hf://org/repo")


def artifact(*paths: str) -> Artifact:
    files = tuple(File(path=path, url=f"https://x/{path}") for path in paths)
    return Artifact(reference=str(REF), files=files)


def test_safetensors_are_built_and_gguf_is_served_as_it_is() -> None:
    llama = read_checkpoint({"architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16"})
    built = unlisted_model(REF, artifact("config.json", "model.safetensors"), llama)
    assert [(p.precision, p.build) for p in built.profiles] == [("f16", True), ("q8_0", True)]
    served = unlisted_model(REF, artifact("model-Q4_K_M.gguf"), Checkpoint())
    assert [(p.precision, p.build) for p in served.profiles] == [("q4_k_m", False)]


def ways(config: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    model = unlisted_model(REF, artifact("model.safetensors"), read_checkpoint(config))
    return {variant.backend: variant.precisions for variant in model.variants}


def test_a_checkpoint_runs_on_gpus_in_its_own_precision_or_as_an_engine() -> None:
    plain = ways({"architectures": ["Qwen3ForCausalLM"], "dtype": "bfloat16"})
    assert plain["vllm"] == plain["sglang"] == ("bf16",)
    assert plain["tensorrt_llm"] == ("bf16", "fp16", "fp8", "nvfp4")
    other = ways({"architectures": ["MambaForCausalLM"]})
    assert other == {"vllm": ("fp16",), "sglang": ("fp16",)}


@pytest.mark.parametrize(
    ("quantisation", "precision"),
    [
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "awq", "bits": 4}, "int4_awq"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
    ],
)
def test_a_quantised_checkpoint_is_served_as_it_is(
    quantisation: dict[str, object], precision: str
) -> None:
    config = {"architectures": ["LlamaForCausalLM"], "quantization_config": quantisation}
    found = ways(config)
    assert set(found.values()) == {(precision,)}
    assert not unlisted_model(REF, artifact("model.safetensors"), read_checkpoint(config)).profiles


def test_a_quantisation_that_is_not_known_is_not_guessed() -> None:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "quantization_config": {"quant_method": "bitsandbytes"},
    }
    with pytest.raises(UnsupportedModelError):
        ways(config)


def test_the_first_shard_stands_for_all_and_projectors_do_not_count() -> None:
    shards = artifact("m-00002-of-00002.gguf", "m-00001-of-00002.gguf", "mmproj-f16.gguf")
    assert gguf_file(shards) == "m-00001-of-00002.gguf"


def test_of_several_gguf_files_one_must_be_named() -> None:
    with pytest.raises(UsageError) as caught:
        gguf_file(artifact("m-q4_0.gguf", "m-q8_0.gguf"))
    assert caught.value.hint == "name one with ?include=m-q4_0.gguf"


def test_an_unknown_architecture_names_the_gguf_alternative() -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        unlisted_model(REF, artifact("model.safetensors"), Checkpoint(class_name="BertModel"))
    assert "BertModel" in caught.value.message
    assert "GGUF" in str(caught.value.hint)


def test_an_artifact_without_weights_is_refused_with_what_it_has() -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        unlisted_model(REF, artifact("pytorch_model.bin"), Checkpoint())
    assert "pytorch_model.bin" in str(caught.value.cause)


def test_parameters_are_counted_as_the_model_cards_say() -> None:
    # https://huggingface.co/mistralai/Mistral-7B-Instruct-v0.3: 7,248,023,552 in its safetensors
    mistral = {
        "architectures": ["MistralForCausalLM"],
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 32768,
        "max_position_embeddings": 32768,
    }
    architecture = read_architecture(mistral)
    assert architecture is not None
    assert architecture.parameters == 7_248_023_552
    assert class_name(mistral) == "MistralForCausalLM"


# https://huggingface.co/openai/gpt-oss-20b/blob/main/config.json, as far as it is read.
GPT_OSS = {
    "architectures": ["GptOssForCausalLM"],
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "num_hidden_layers": 24,
    "head_dim": 64,
    "vocab_size": 201088,
    "max_position_embeddings": 131072,
    "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
}


def test_some_layers_may_have_a_window_where_the_others_see_everything() -> None:
    found = read_architecture(GPT_OSS)
    assert found is not None
    assert found.sliding_window == SlidingWindow(tokens=128, layers=12)
    assert found.context_length == 131072


@pytest.mark.parametrize(
    ("change", "context_length"),
    [
        ({"layer_types": ["sliding_attention"] * 24}, 128),
        ({"layer_types": ["full_attention"] * 24, "use_sliding_window": False}, 131072),
        ({"layer_types": None}, 128),
        ({"sliding_window": None}, 131072),
        ({"layer_types": 24, "sliding_window": True}, 131072),
        # llama.cpp would run it without the window.
        ({"architectures": ["Qwen3ForCausalLM"]}, 128),
    ],
)
def test_the_context_ends_with_a_window_that_is_everywhere_or_not_obeyed(
    change: dict[str, object], context_length: int
) -> None:
    found = read_architecture({**GPT_OSS, **change})
    assert found is not None
    assert found.context_length == context_length
    if "architectures" not in change:
        assert found.sliding_window is None


def test_a_config_without_the_numbers_gives_no_architecture() -> None:
    assert read_architecture({"architectures": ["X"]}) is None
    assert read_architecture({"hidden_size": "4096"}) is None
    assert class_name({"architectures": "LlamaForCausalLM"}) is None
