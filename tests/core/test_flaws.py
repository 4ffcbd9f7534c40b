"""All flaws of a document, each with its place; never another verdict than msgspec's."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimctl.core.catalogue import Model
from nimctl.core.flaws import schema_flaws

SOUND: dict[str, Any] = {
    "schema_version": 1,
    "name": "m",
    "title": "M",
    "family": "llm",
    "source": "https://example.com/m",
    "architecture": {
        "parameters": 8,
        "layers": 2,
        "hidden_size": 4,
        "intermediate_size": 8,
        "vocabulary": 16,
        "heads": 2,
        "kv_heads": 1,
        "head_dim": 2,
        "context_length": 8,
        "latent_attention": {"kv_lora_rank": 1, "rope_dim": 1},
    },
    "profiles": [{"backend": "llama_cpp", "precision": "f16", "source": "hf://a/b"}],
    "variants": [{"backend": "vllm", "precisions": ["bf16"], "source": "hf://a/b"}],
    "nim": {
        "image": "nvcr.io/nim/a/b:1",
        "source": "https://example.com/n",
        "ports": {"http": 8000},
        "api": [{"path": "/v1/x"}],
        "shm_gib": 16,
    },
}


def places(document: object) -> list[tuple[str, str]]:
    return [(flaw.place, flaw.message) for flaw in schema_flaws(document, Model)]


def with_(path: tuple[str | int, ...], value: object) -> Any:
    document: Any = msgspec.json.decode(msgspec.json.encode(SOUND))
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return document


def test_a_sound_document_has_no_flaw() -> None:
    assert places(SOUND) == []


@pytest.mark.parametrize(
    ("path", "value", "place", "message"),
    [
        (("titel",), "x", "titel", "unknown key; did you mean `title`?"),
        (("nim", "zz"), 1, "nim.zz", "unknown key; there is image, source"),
        (("title",), 5, "title", "expected `str`, got `int`: 5"),
        (("title",), None, "title", "expected `str`, got `null`: nothing"),
        (("title",), "", "title", "expected `str` of length >= 1"),
        (("family",), "vml", "family", "`vml` is not known; did you mean `vlm`?"),
        (("schema_version",), 2, "schema_version", "2 is not known; there is 1"),
        (("source",), "http://x/y", "source", "expected `str` matching regex"),
        (("architecture",), [1], "architecture", "expected a mapping, found a list"),
        (("architecture", "layers"), 0, "architecture.layers", "expected `int` >= 1: 0"),
        (("architecture", "layers"), 2.5, "architecture.layers", "expected `int`, got `float`"),
        (("architecture", "layers"), True, "architecture.layers", "expected `int`, got `bool`"),
        (
            ("architecture", "latent_attention", "rope_dim"),
            "x",
            "architecture.latent_attention.rope_dim",
            "expected `int`",
        ),
        (("profiles",), "none", "profiles", "expected `array`, got `str`: `none`"),
        (("profiles", 0, "tp"), "2", "profiles[0].tp", "expected `int`, got `str`: `2`"),
        (("variants", 0, "precisions"), [], "variants[0].precisions", "length >= 1"),
        (("variants", 0, "precisions", 0), 8, "variants[0].precisions[0]", "expected `str`"),
        (("nim", "ports", "http"), 70000, "nim.ports.http", "expected `int` <= 65535"),
        (("nim", "api", 0, "path"), "v1", "nim.api[0].path", "expected `str` matching regex"),
    ],
)
def test_a_flaw_is_told_with_its_place(
    path: tuple[str | int, ...], value: object, place: str, message: str
) -> None:
    ((found, words),) = places(with_(path, value))
    assert found == place
    assert message in words


def test_all_flaws_are_told_not_only_the_first() -> None:
    document = with_(("title",), 5)
    del document["name"]
    document["profiles"][0] = {"precision": 1}
    assert [place for place, _ in places(document)] == [
        "",
        "title",
        "profiles[0]",
        "profiles[0].precision",
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.floats(0, 9) | st.sampled_from(["", "m"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "layers", "http", "path"]), inner, max_size=2)
    ),
    max_leaves=4,
)
PATHS = st.sampled_from(
    [
        *((key,) for key in SOUND),
        *(("architecture", key) for key in SOUND["architecture"]),
        *(("nim", key) for key in SOUND["nim"]),
        *(("profiles", 0, key) for key in ("backend", "precision", "source", "tp", "lora")),
        *(("variants", 0, key) for key in ("precisions", "source", "gpus", "build")),
    ]
)


@given(PATHS, JSON)
def test_there_are_flaws_exactly_where_msgspec_refuses(
    path: tuple[str | int, ...], value: object
) -> None:
    document = with_(path, value)
    assert bool(places(document)) == is_refused(document)


def is_refused(document: object) -> bool:
    try:
        msgspec.convert(document, Model)
    except msgspec.ValidationError:
        return True
    return False
