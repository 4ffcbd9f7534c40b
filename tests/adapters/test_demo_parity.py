"""The demo model as GGUF answers as `transformers` does, token by token.

The reference was recorded by tools/demo_model/record_parity.py; prompts whose answer is a tie are
not in it.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.request import Request, urlopen

import pytest
from llama import DEMO, Running, running

from nimctl.engines.gguf.convert import convert

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "demo_parity.json").read_text())


@pytest.fixture(scope="module", params=["f16", "q8_0"])
def precision(request: pytest.FixtureRequest) -> Literal["f16", "q8_0"]:
    chosen: Literal["f16", "q8_0"] = request.param
    return chosen


@pytest.fixture(scope="module")
def server(
    precision: Literal["f16", "q8_0"], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp(precision)
    engine = folder / "demo.gguf"
    convert(DEMO, engine, precision=precision, progress=lambda _done, _total: None)
    with running(engine, folder, "--parallel", "1") as started:
        yield started


def complete(server: Running, prompt: str) -> list[int]:
    body = {"prompt": prompt, "n_predict": 32, "temperature": 0, "return_tokens": True}
    tokens: list[int] = ask(server, "/completion", body | {"cache_prompt": False})["tokens"]
    return tokens


def ask(server: Running, path: str, body: dict[str, Any]) -> Any:
    headers = {"Content-Type": "application/json"}
    request = Request(f"{server.url}{path}", json.dumps(body).encode(), headers)
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_the_reference_is_that_of_the_shipped_model() -> None:
    weights = hashlib.sha256((DEMO / "model.safetensors").read_bytes()).hexdigest()
    assert RECORDED["model_sha256"] == weights
    assert len(RECORDED["completions"]) >= 200
    assert len(RECORDED["chats"]) >= 20


def test_prompts_are_tokenised_alike(server: Running) -> None:
    for one in RECORDED["completions"]:
        body = {"content": one["prompt"], "add_special": True, "parse_special": True}
        assert ask(server, "/tokenize", body)["tokens"] == one["prompt_token_ids"], one["prompt"]


def test_completions_are_equal_token_by_token(server: Running, precision: str) -> None:
    differing = [
        one["prompt"]
        for one in RECORDED["completions"]
        if complete(server, one["prompt"]) != one["token_ids"]
    ]
    if precision == "q8_0":
        # Eight bits may turn the answer to a prompt that the model has no answer for; three do.
        differing = [prompt for prompt in differing if prompt.startswith("The capital of")]
    assert differing == []


def test_chats_are_rendered_and_answered_alike(server: Running) -> None:
    for one in RECORDED["chats"]:
        rendered = ask(server, "/apply-template", {"messages": one["messages"]})["prompt"]
        assert rendered == one["rendered"]
        assert complete(server, rendered) == one["token_ids"], rendered
        chat = ask(
            server,
            "/v1/chat/completions",
            {"messages": one["messages"], "temperature": 0, "max_tokens": 32},
        )
        assert chat["choices"][0]["message"]["content"] == one["text"]
