"""Which adapters a model takes, and what a server is told of them."""

import json
import struct
from pathlib import Path

import pytest

from nimctl.core.architecture import Architecture
from nimctl.core.errors import NotFoundError, UsageError, VerificationError
from nimctl.core.lora import AdapterFacts, check_adapter
from nimctl.core.serving import Adapter
from nimctl.serving.adapters import observe_adapter

LLAMA = Architecture(
    parameters=8030261248,
    layers=32,
    hidden_size=4096,
    intermediate_size=14336,
    vocabulary=128256,
    heads=32,
    kv_heads=8,
    head_dim=128,
    context_length=131072,
)
Q = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
DOWN = "base_model.model.model.layers.0.mlp.down_proj.lora_{}.weight"
FITTING: dict[str, tuple[int, ...]] = {
    Q.format("A"): (16, 4096),
    Q.format("B"): (4096, 16),
    DOWN.format("A"): (16, 14336),
    DOWN.format("B"): (4096, 16),
}
BASE = "meta-llama/Llama-3.1-8B-Instruct"


def check(
    config: dict[str, object],
    shapes: dict[str, tuple[int, ...]] | None = FITTING,
    *,
    backend: str = "vllm",
    directory: str = "/lora/sql",
    architecture: Architecture | None = LLAMA,
) -> tuple[Adapter, str | None]:
    document = {"peft_type": "LORA", "r": 16, "base_model_name_or_path": BASE, **config}
    facts = AdapterFacts(directory=directory, config=json.dumps(document).encode(), shapes=shapes)
    return check_adapter(
        facts, backend=backend, reference=f"hf://{BASE}@main", architecture=architecture
    )


def test_a_fitting_adapter_is_called_like_its_directory() -> None:
    adapter, warning = check({"rank_pattern": {"q_proj": 32}})
    assert adapter == Adapter(
        name="sql", directory="/lora/sql", rank=32, modules=("down_proj", "q_proj")
    )
    assert warning is None


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"r": 1024}, "rank is 1024, vllm takes 512"),
    ],
)
def test_what_servers_do_not_take_is_refused(config: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError) as refused:
        check(config)
    assert reason in str(refused.value.cause)


def test_the_limit_of_one_backend_is_not_that_of_another() -> None:
    assert check({"r": 1024}, backend="sglang")[0].rank == 1024


@pytest.mark.parametrize(
    ("tensor", "shape", "reason"),
    [
        (Q.format("A"), (16, 5120), "q_proj has 4096 inputs in the model, 5120 in the adapter"),
        (DOWN.format("B"), (2048, 16), "down_proj has 4096 outputs in the model, 2048"),
    ],
)
def test_an_adapter_of_another_model_is_known_by_its_shapes(
    tensor: str, shape: tuple[int, int], reason: str
) -> None:
    with pytest.raises(UsageError) as refused:
        check({}, {**FITTING, tensor: shape})
    assert reason in str(refused.value.cause)


def test_nothing_is_claimed_of_shapes_that_are_not_known() -> None:
    assert check({}, {**FITTING, Q.format("A"): (16, 1)}, architecture=None)[0].rank == 16
    assert check({}, None)[0].rank == 16


def test_another_base_model_is_worth_a_warning_only() -> None:
    _, warning = check({"base_model_name_or_path": "mistralai/Mistral-7B-v0.3"})
    assert warning
    assert "mistralai/Mistral-7B-v0.3" in warning
    assert check({"base_model_name_or_path": "unsloth/llama-3.1-8b-instruct"})[1] is None


def test_weights_without_a_matrix_are_no_adapter() -> None:
    with pytest.raises(UsageError):
        check({}, {"model.norm.weight": (4096,)})


@pytest.mark.parametrize("directory", ["/lora/a b", "/lora/-x", "/lora/a=b"])
def test_a_directory_that_gives_no_name_is_refused(directory: str) -> None:
    with pytest.raises(UsageError):
        check({}, directory=directory)


@pytest.mark.parametrize(
    "config", [b"{", b'{"peft_type": "LORA"}', b'{"peft_type": "IA3", "r": 1}']
)
def test_a_malformed_configuration_is_named(config: bytes) -> None:
    facts = AdapterFacts(directory="/lora/sql", config=config, shapes=None)
    with pytest.raises(VerificationError):
        check_adapter(facts, backend="vllm", reference=None, architecture=None)


def test_an_adapter_is_read_from_its_directory(tmp_path: Path) -> None:
    header = json.dumps({Q.format("A"): {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}})
    (tmp_path / "adapter_config.json").write_text('{"r": 2}')
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(12))
    facts = observe_adapter(tmp_path)
    assert facts.shapes == {Q.format("A"): (2, 3)}
    assert facts.directory == str(tmp_path)
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(VerificationError):
        observe_adapter(tmp_path)


def test_a_pickle_is_not_opened_and_an_empty_directory_is_no_adapter(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        observe_adapter(tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"r": 2}')
    (tmp_path / "adapter_model.bin").write_bytes(b"not a pickle")
    assert observe_adapter(tmp_path).shapes is None
