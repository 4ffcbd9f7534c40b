import msgspec
import pytest

from nimctl.core.engine import Engine, EngineRecipe, chosen
from nimctl.core.errors import NotFoundError, UsageError

RECIPE = EngineRecipe(backend="tensorrt_llm", precision="fp8", builder="image@sha256:1")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("backend", "llama_cpp"),
        ("precision", "bf16"),
        ("builder", "image@sha256:2"),
        ("strategy", "pytorch"),
        ("kv_cache", "fp8"),
        ("calibration", "c" * 64),
        ("tp", 2),
        ("pp", 2),
        ("limits", {"max_batch_size": 8}),
        ("flags", {"--gemm_plugin": "auto"}),
        ("tensorrt_version", "10.14.1"),
        ("compute_capability", "9.0"),
        ("gpu", "h100_sxm"),
    ],
)
def test_every_field_of_the_recipe_changes_the_key(field: str, value: object) -> None:
    assert msgspec.structs.replace(RECIPE, **{field: value}).key("m") != RECIPE.key("m")


def test_every_field_is_in_the_table_above() -> None:
    mark = next(iter(test_every_field_of_the_recipe_changes_the_key.pytestmark))  # type: ignore[attr-defined]
    assert {row[0] for row in mark.args[1]} == set(EngineRecipe.__struct_fields__)


def test_the_model_changes_the_key_and_the_order_of_flags_does_not() -> None:
    assert RECIPE.key("a") != RECIPE.key("b")
    one = msgspec.structs.replace(RECIPE, flags={"--a": "1", "--b": "2"})
    other = msgspec.structs.replace(RECIPE, flags={"--b": "2", "--a": "1"})
    assert one.key("m") == other.key("m")


def engine(key: str, **recipe: str) -> Engine:
    return Engine(
        key=key * 32,
        model_digest="d" * 64,
        reference="hf://org/repo",
        recipe=msgspec.structs.replace(RECIPE, **recipe),
        created="2026-01-01T00:00:00Z",
        files=(),
    )


def test_an_engine_is_named_by_its_precision_or_the_beginning_of_its_key() -> None:
    engines = [engine("ab"), engine("cd", precision="bf16"), engine("ce", gpu="h100_sxm")]
    assert chosen(engines, "bf16", "m").key.startswith("cd")
    assert chosen(engines, "ce", "m").recipe.gpu == "h100_sxm"
    with pytest.raises(NotFoundError) as missing:
        chosen(engines, "int4", "m")
    assert missing.value.hint == "nimctl build-engine m --precision int4"
    with pytest.raises(UsageError) as ambiguous:
        chosen(engines, "fp8", "m")
    assert "cececececece (tensorrt_llm-h100_sxm-fp8-tp1-pp1)" in str(ambiguous.value.cause)
