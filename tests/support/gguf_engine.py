"""Ask the embedded engine, in a process of its own, about one GGUF file.

As a program: `python gguf_engine.py MODEL.gguf` reads one JSON object from stdin, with `prompts`
(lists of token ids), `new_tokens` and `texts`, and answers with `answers` (greedy token ids),
`logprobs` (of each prompt's first answer) and `tokens` (ids of each text).
"""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any


def ask(
    model: Path, *, prompts: list[list[int]], new_tokens: int, texts: list[str]
) -> dict[str, Any]:
    """Run the engine; an AssertionError has its log when it refuses the file."""
    done = subprocess.run(
        [sys.executable, __file__, str(model)],
        input=json.dumps({"prompts": prompts, "new_tokens": new_tokens, "texts": texts}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _serve(model: str) -> str:
    import xllamacpp  # noqa: PLC0415 - loaded in the engine's process only

    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.port = 0
    parameters.n_ctx = 0
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    parameters.warmup = False
    parameters.cache_ram_mib = 0
    parameters.ui = False
    # Kept for the life of the process: its destructor hangs while requests run.
    _SERVERS.append(xllamacpp.Server(parameters))
    return str(_SERVERS[0].listening_address)


_SERVERS: list[Any] = []


def _post(address: str, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        address + path,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def _main() -> None:
    asked = json.load(sys.stdin)
    address = _serve(sys.argv[1])
    completions = [
        _post(
            address,
            "/completion",
            {
                "prompt": prompt,
                "n_predict": asked["new_tokens"],
                "temperature": 0,
                "return_tokens": True,
                "cache_prompt": False,
            },
        )
        for prompt in asked["prompts"]
    ]
    tokens = [
        _post(address, "/tokenize", {"content": text, "add_special": True, "parse_special": True})
        for text in asked["texts"]
    ]
    answer = {
        "answers": [completion["tokens"] for completion in completions],
        "tokens": [one["tokens"] for one in tokens],
    }
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    _main()
