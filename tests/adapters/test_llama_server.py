"""The embedded server over HTTP, as the OpenAI client and others see it."""

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gguf
import numpy as np
import openai
import pytest
from llama import LIVENESS_S, Running, convert_demo, get, request, running

from nimctl.core.backends import EmbeddedOptions, embedded_argv
from nimctl.core.memory import Capacity
from nimctl.serving.llama_server.options import parse

KEY = "first-key"
PROMPT = "The capital of France is called"
CAPITALS = {
    "France": "Paris",
    "Japan": "Tokyo",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Kenya": "Nairobi",
    "Peru": "Lima",
    "Norway": "Oslo",
    "Egypt": "Cairo",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert_demo(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("server")
    keys = folder / "keys"
    keys.write_text(f"# two people\n{KEY}\n\n second-key \n")
    flags = ("--alias", "demo", "--ctx-size", "2048", "--parallel", "4")
    with running(model, folder, *flags, "--api-key-file", keys) as server:
        yield server


def connect(server: Running, key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=key, max_retries=0, timeout=LIVENESS_S
    )


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with connect(server) as client:
        yield client


def complete(client: openai.OpenAI, prompt: str = PROMPT, **options: Any) -> Any:
    named = {"max_tokens": 16, "temperature": 0, **options}
    return client.completions.create(model="demo", prompt=prompt, **named)


def chat(client: openai.OpenAI, **options: Any) -> Any:
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    named = {"messages": messages, "max_tokens": 32, "temperature": 0, **options}
    return client.chat.completions.create(model="demo", **named)


def test_a_completion_knows_the_capital(client: openai.OpenAI) -> None:
    answer = complete(client)
    assert answer.choices[0].text == " Paris."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "demo"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_chat_uses_the_models_own_template(client: openai.OpenAI) -> None:
    answer = chat(client)
    assert "Paris" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"


def test_another_template_takes_the_place_of_the_models_own(model: Path, tmp_path: Path) -> None:
    template = tmp_path / "capital.jinja"
    template.write_text(f"{PROMPT}{{% for message in messages %}}{{% endfor %}}")
    with (
        running(model, tmp_path, "--chat-template-file", template) as server,
        connect(server) as client,
    ):
        assert chat(client).choices[0].message.content == " Paris."


def test_a_streamed_completion_is_the_whole_answer_with_its_usage_at_the_end(
    client: openai.OpenAI,
) -> None:
    chunks = list(complete(client, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in chunks) == " Paris."
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == complete(client).usage.completion_tokens


def test_a_streamed_chat_is_the_whole_answer_and_then_its_usage(client: openai.OpenAI) -> None:
    *chunks, last = chat(client, stream=True, stream_options={"include_usage": True})
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == chat(client).choices[0].message.content
    assert last.choices == []
    assert last.usage.completion_tokens > 0


def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(client: openai.OpenAI) -> None:
    answer = complete(client, "one two three", stop=[" six"])
    assert answer.choices[0].text == " four five"
    assert answer.choices[0].finish_reason == "stop"


def test_max_tokens_ends_the_answer(client: openai.OpenAI) -> None:
    answer = complete(client, "one two three", max_tokens=2)
    assert answer.usage.completion_tokens == 2
    assert answer.choices[0].finish_reason == "length"


def test_n_answers_come_together(client: openai.OpenAI) -> None:
    answer = chat(client, n=2)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert all("Paris" in choice.message.content for choice in answer.choices)


def test_chat_logprobs_have_the_alternatives_asked_for(client: openai.OpenAI) -> None:
    tokens = chat(client, logprobs=True, top_logprobs=3).choices[0].logprobs.content
    assert "Paris" in "".join(token.token for token in tokens)
    for token in tokens:
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].logprob == pytest.approx(token.logprob)


def test_completion_logprobs_come_in_the_shape_of_chats(client: openai.OpenAI) -> None:
    # llama.cpp's way: OpenAI has `tokens` and `token_logprobs` here.
    logprobs = complete(client, logprobs=2).choices[0].logprobs
    assert "".join(token["token"] for token in logprobs.content) == " Paris."
    assert logprobs.tokens is None


def test_a_seed_makes_sampling_repeatable(client: openai.OpenAI) -> None:
    def sample(seed: int) -> str:
        return str(complete(client, "one", temperature=2, seed=seed).choices[0].text)

    assert sample(1) == sample(1)
    assert len({sample(seed) for seed in range(5)}) > 1


def test_nothing_is_cut_from_the_distribution_unless_asked(server: Running) -> None:
    props = json.loads(get(f"{server.url}/props", X_Api_Key=KEY).text)
    defaults = props["default_generation_settings"]["params"]
    names = ("temperature", "top_k", "top_p", "min_p")
    assert [defaults[name] for name in names] == [1.0, 0, 1.0, 0.0]


def test_eight_clients_at_once_get_their_own_answers(server: Running) -> None:
    def ask(country: str) -> list[str]:
        with connect(server) as client:
            prompt = f"The capital of {country} is called"
            return [complete(client, prompt).choices[0].text for _ in range(5)]

    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(CAPITALS, pool.map(ask, CAPITALS), strict=True))
    assert answers == {country: [f" {city}."] * 5 for country, city in CAPITALS.items()}


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/chat/completions", b"{}", "messages"),
        ("/chat/completions", b'{"messages": "hello"}', "messages"),
        ("/completions", b"{}", "prompt"),
        ("/completions", b'{"prompt": "a", "n": 5}', "n"),
        ("/completions", b"{", "parse"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(
    client: openai.OpenAI, path: str, body: bytes, named: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.post(path, cast_to=object, content=body)
    assert caught.value.type == "invalid_request_error"
    assert named in caught.value.message


def test_a_prompt_longer_than_a_slots_share_is_refused_with_both_lengths(
    client: openai.OpenAI,
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        complete(client, "one two " * 300)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["type"] == "exceed_context_size_error"
    assert caught.value.body["n_ctx"] == 512
    assert caught.value.body["n_prompt_tokens"] > 512


def test_each_slot_has_an_equal_share_of_the_context(server: Running) -> None:
    slots = json.loads(get(f"{server.url}/slots", X_Api_Key=KEY).text)
    assert [slot["n_ctx"] for slot in slots] == [512] * 4


@pytest.mark.parametrize("key", [KEY, "second-key"])
def test_every_key_of_the_file_opens_the_api(server: Running, key: str) -> None:
    with connect(server, key) as client:
        assert [model.id for model in client.models.list()] == ["demo"]


@pytest.mark.parametrize("key", ["", "wrong", "# two people", "first"])
def test_another_key_does_not_open_the_api(server: Running, key: str) -> None:
    for path in ("/v1/models", "/metrics", "/slots", "/props"):
        assert get(f"{server.url}{path}", Authorization=f"Bearer {key}").status == 401
    with connect(server, key or "none") as client, pytest.raises(openai.AuthenticationError):
        complete(client)


def test_health_needs_no_key(server: Running) -> None:
    assert get(f"{server.url}/health").status == 200


def test_metrics_count_tokens(server: Running, client: openai.OpenAI) -> None:
    def predicted() -> int:
        text = get(f"{server.url}/metrics", X_Api_Key=KEY).text
        found = re.search(r"^llamacpp:tokens_predicted_total (\d+)$", text, re.MULTILINE)
        assert found
        return int(found[1])

    before = predicted()
    tokens = complete(client).usage.completion_tokens
    assert predicted() - before == tokens


def test_no_web_page_may_call_the_api(server: Running) -> None:
    for method in ("GET", "OPTIONS"):
        answer = request(method, f"{server.url}/v1/models", X_Api_Key=KEY, Origin="http://a.test")
        assert not answer.headers.get("access-control-allow-origin")
        assert not answer.headers.get("access-control-allow-methods")


def test_there_is_no_web_page(server: Running) -> None:
    assert get(f"{server.url}/", X_Api_Key=KEY).status == 404


def test_64_idle_connections_do_not_keep_health_from_answering(server: Running) -> None:
    with ExitStack() as stack:
        for _ in range(64):
            connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=LIVENESS_S)
            stack.callback(connection.close)
            connection.request("GET", "/health")
            assert connection.getresponse().read()
        assert get(f"{server.url}/health").status == 200


def write_lora(path: Path) -> Path:
    """An adapter that turns the last layer's output into noise."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 1.0)
    noise = np.random.default_rng(0)
    for half, shape in (("a", (1, 512)), ("b", (256, 1))):
        values = noise.normal(0, 3, shape).astype(np.float32)
        writer.add_tensor(f"blk.1.ffn_down.weight.lora_{half}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def extended(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    folder = tmp_path_factory.mktemp("extended")
    embeddings = ("--embeddings", "--pooling", "mean")
    adapters = [write_lora(folder / name) for name in ("a.gguf", "b.gguf")]
    flags = (*embeddings, "--lora", adapters[0], "--lora", adapters[1])
    with running(model, folder, *flags) as server, connect(server) as client:
        yield client


def test_embeddings_have_length_one_and_belong_to_their_inputs(extended: openai.OpenAI) -> None:
    several = extended.embeddings.create(model="demo", input=["Paris", "one two three"]).data
    alone = extended.embeddings.create(model="demo", input="one two three").data
    assert [len(one.embedding) for one in several] == [256, 256]
    assert np.linalg.norm(several[0].embedding) == pytest.approx(1, abs=1e-3)
    assert several[1].embedding == pytest.approx(alone[0].embedding, abs=1e-2)
    assert several[0].embedding != pytest.approx(alone[0].embedding, abs=1e-2)


def test_completions_stay_available_beside_embeddings_with_or_without_adapters(
    extended: openai.OpenAI,
) -> None:
    def scaled(first: float, second: float) -> str:
        scales = [{"id": 0, "scale": first}, {"id": 1, "scale": second}]
        return str(complete(extended, extra_body={"lora": scales}).choices[0].text)

    assert scaled(0, 0) == " Paris."
    assert " Paris." not in {scaled(1, 0), scaled(0, 1)}


def test_without_the_flag_there_are_no_embeddings(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError, match="embeddings"):
        client.embeddings.create(model="demo", input="Paris")


def test_the_command_line_that_plans_print_is_understood() -> None:
    options = EmbeddedOptions(
        engine="m.gguf",
        alias="m",
        host="127.0.0.1",
        port=8000,
        capacity=Capacity(max_model_len=512, max_num_seqs=8),
        threads=3,
        api_key_file="keys",
        chat_template="chat.jinja",
        embeddings=True,
        lora=("a.gguf", "b.gguf"),
        extra=("--flash-attn", "off"),
    )
    parsed = parse(embedded_argv("python", options)[3:])
    assert (parsed.model, parsed.alias, parsed.host, parsed.port) == (
        *("m.gguf", "m", "127.0.0.1", 8000),
    )
    assert (parsed.ctx_size, parsed.parallel, parsed.threads) == (4096, 8, 3)
    assert (parsed.api_key_file, parsed.chat_template_file) == ("keys", "chat.jinja")
    assert parsed.lora == ["a.gguf", "b.gguf"]
    assert parsed.embeddings
    assert parsed.flash_attn == "off"


def test_the_process_imports_the_engine_and_nothing_else_of_ours_or_others() -> None:
    probe = "import nimctl.serving.llama_server.__main__, sys; print(*sys.modules)"
    argv = [sys.executable, "-c", probe]
    loaded = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    others = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    ours = {name for name in loaded if name.startswith("nimctl.")}
    assert others >= {"xllamacpp", "nimctl"}
    assert not {"msgspec", "click", "numpy", "yaml", "httpx2"} & others
    assert all(name.startswith("nimctl.serving") for name in ours)
