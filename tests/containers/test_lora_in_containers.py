"""Adapters, from `serve --lora` to what the program in the container is started with."""

import json
import shlex
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Result, Run, words
from docker_cli import RUN, docker
from stand_in_image import make_image
from trtllm_model import ARCHITECTURE

import nimctl
from nimctl import settings

DEMO = Path(nimctl.__file__).parent / "models" / "capitals-demo"
Q = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
CATALOGUE = f"""\
schema_version: 1
name: tiny
family: llm
title: The demo model for every backend
license: Apache-2.0
{ARCHITECTURE}  class_name: LlamaForCausalLM
variants:
  - {{backend: vllm, precisions: [fp16], source: "file://{DEMO}"}}
  - {{backend: sglang, precisions: [fp16], source: "file://{DEMO}"}}
  - {{backend: tensorrt_llm, precisions: [fp16], source: "file://{DEMO}"}}
  - {{backend: tensorrt_llm, precisions: [bf16], source: "file://{DEMO}", build: true}}
  - {{backend: llama_cpp, precisions: [f16], source: "file://{DEMO}", build: true}}
nim:
  image: nvcr.io/nim/test/tiny:1
  source: https://docs.nvidia.com/nim/
  ports: {{http: 8000}}
"""


@pytest.fixture
def stand_in(docker_runs: None) -> Iterator[str]:  # noqa: ARG001 - it skips
    """An image whose every program says how it was started."""
    reference = f"nvcr.io/nim/test/lora:{RUN}"
    make_image(reference, labels={})
    yield reference
    docker("rmi", "--force", reference)


@pytest.fixture
def catalogue(environ: dict[str, str]) -> None:
    directory = Path(settings.load(environ).profiles_directory)
    directory.mkdir(parents=True)
    (directory / "tiny.yaml").write_text(CATALOGUE)


def write_peft(directory: Path, *, inputs: int = 256, rank: int = 4, base: str = "tiny") -> Path:
    """An adapter as PEFT saves it, for the first layer's queries."""
    directory.mkdir(parents=True)
    size = 2 * rank * inputs
    shapes = {Q.format("A"): [rank, inputs], Q.format("B"): [256, rank]}
    header = json.dumps(
        {
            name: {"dtype": "F16", "shape": shape, "data_offsets": [0, 2 * shape[0] * shape[1]]}
            if name.endswith("A.weight")
            else {
                "dtype": "F16",
                "shape": shape,
                "data_offsets": [size, size + 2 * shape[0] * shape[1]],
            }
            for name, shape in shapes.items()
        }
    ).encode()
    data = bytes(size + 2 * rank * 256)
    (directory / "adapter_model.safetensors").write_bytes(
        struct.pack("<Q", len(header)) + header + data
    )
    config = {"peft_type": "LORA", "r": rank, "base_model_name_or_path": base}
    (directory / "adapter_config.json").write_text(json.dumps(config))
    return directory


Serve = Callable[..., Result]


@pytest.fixture
def serve(run: Run, catalogue: None) -> Serve:  # noqa: ARG001 - the model is there
    """Plans `serve` for a machine with an H100, which this one is not."""

    def call(backend: str, *options: str | Path) -> Result:
        chosen = ("--backend", backend) if ":" not in backend else ("--profile", backend[1:])
        asked = (*chosen, "--gpu", "h100_sxm", "--dry-run", "--port", "auto", "-n", RUN)
        return run("serve", "tiny", *asked, *options)

    return call


def started(script: str) -> dict[str, Any]:
    """Run the printed script, without the GPU, and tell how the program was started."""
    # The image is here, and in no registry.
    wanted = [line for line in script.splitlines() if not line.startswith("docker pull ")]
    lines = [_runnable(line) if line.startswith("docker run ") else line for line in wanted]
    try:
        done = subprocess.run(
            ["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        log = docker("logs", RUN)
        inspected = json.loads(docker("inspect", RUN))[0]
        adapters = docker("exec", RUN, "find", "/adapters", "-type", "f")
    finally:
        docker("rm", "--force", RUN)
    return {
        "argv": next(line for line in log.splitlines() if line.startswith("argv: ")),
        "env": dict(one.partition("=")[::2] for one in inspected["Config"]["Env"]),
        "adapters": sorted(adapters.split()),
        "writable": {one["Destination"]: one["RW"] for one in inspected["Mounts"]},
    }


def _runnable(line: str) -> str:
    """The line for a machine without a GPU, whose limits may be fixed, and for one program."""
    argv = shlex.split(line)
    for option in ("--gpus", "--ulimit", "--ulimit"):
        if option in argv:
            place = argv.index(option)
            del argv[place : place + 2]
    if "--entrypoint" in argv:
        argv[argv.index("--entrypoint") + 1] = "/bin/serve"
    return shlex.join(argv)


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ("vllm", "--enable-lora --max-lora-rank 8 --lora-modules sql=/adapters/sql"),
        ("sglang", "--lora-paths sql=/adapters/sql"),
        ("nim", "argv: "),
    ],
)
def test_a_checked_adapter_reaches_the_program_read_only(
    serve: Serve, stand_in: str, tmp_path: Path, backend: str, expected: str
) -> None:
    adapter = write_peft(tmp_path / "sql")
    planned = serve(backend, "--image", stand_in, "--lora", adapter)
    assert planned.code == 0, planned
    found = started(planned.out)
    assert expected in found["argv"]
    assert found["adapters"] == [
        "/adapters/sql/adapter_config.json",
        "/adapters/sql/adapter_model.safetensors",
    ]
    assert found["writable"]["/adapters/sql"] is False
    assert found["env"].get("NIM_PEFT_SOURCE") == ("/adapters" if backend == "nim" else None)


def test_tensorrt_llm_reads_of_adapters_in_its_options_file(
    serve: Serve, stand_in: str, tmp_path: Path
) -> None:
    adapters = [write_peft(tmp_path / "sql"), write_peft(tmp_path / "law", rank=16)]
    options = [word for one in adapters for word in ("--lora", str(one))]
    # The engine of the other profile takes none, so that adapters choose the checkpoint.
    planned = serve("tensorrt_llm", "--image", stand_in, *options)
    assert planned.code == 0, planned
    text = planned.out.partition("<<'END'\n")[2].partition("\nEND")[0]
    config = json.loads(text)["lora_config"]
    assert config["lora_target_modules"] == ["attn_q"]
    assert (config["max_lora_rank"], config["max_loras"]) == (16, 2)
    assert '"lora_int_id": 1, "lora_path": "/adapters/law"' in planned.out
    found = serve("tensorrt_llm", "--image", stand_in, *options, "--json").json
    (launch,) = [step for step in found["steps"] if step["type"] == "LaunchContainer"]
    command = " ".join(launch["container"]["command"])
    assert "--extra_llm_api_options /etc/nimctl/llm-options.yaml" in command
    (written,) = [step for step in found["steps"] if step["type"] == "Write"]
    mounts = {one["target"]: one["source"] for one in launch["container"]["mounts"]}
    assert mounts["/etc/nimctl/llm-options.yaml"] == written["path"]


def test_an_engine_that_was_built_without_adapters_refuses_them(
    serve: Serve, run: Run, tmp_path: Path
) -> None:
    listed = run("list-profiles", "tiny", "--gpu", "h100_sxm", "--json").json["profiles"]
    name = next(one["name"] for one in listed if one["name"].startswith("tensorrt_llm-h100_sxm-bf"))
    refused = serve(f":{name}", "--lora", write_peft(tmp_path / "sql"))
    assert refused.code == 2
    words(refused, "takes no adapters", "--lora_plugin", "--backend vllm")


@pytest.mark.parametrize(
    ("backend", "changes", "said"),
    [
        ("vllm", {"inputs": 512}, "q_proj has 256 inputs in the model, 512 in the adapter"),
        ("sglang", {"inputs": 512}, "trained for another one"),
        ("vllm", {"rank": 1024}, "its rank is 1024, vllm takes 512 at most"),
        ("llama_cpp", {}, "convert_lora_to_gguf.py"),
    ],
)
def test_an_adapter_that_cannot_be_served_is_refused_before_anything_moves(
    serve: Serve, tmp_path: Path, backend: str, changes: dict[str, Any], said: str
) -> None:
    refused = serve(backend, "--lora", write_peft(tmp_path / "sql", **changes))
    assert refused.code == 2
    words(refused, said)


def test_another_base_model_is_a_warning(serve: Serve, stand_in: str, tmp_path: Path) -> None:
    adapter = write_peft(tmp_path / "sql", base="mistralai/Mistral-7B-v0.3")
    planned = serve("vllm", "--image", stand_in, "--lora", adapter)
    assert "names mistralai/Mistral-7B-v0.3 as its base model" in planned.out


@pytest.mark.parametrize("backend", ["vllm", "sglang", "nim", "tensorrt_llm"])
def test_a_gguf_file_is_for_llama_cpp_only(serve: Serve, tmp_path: Path, backend: str) -> None:
    (tmp_path / "sql.gguf").write_bytes(b"GGUF" + bytes(20))
    refused = serve(backend, "--lora", tmp_path / "sql.gguf")
    assert refused.code == 2
    words(refused, "is a GGUF file", "PEFT's format", "--backend llama_cpp")


def test_a_file_that_is_no_adapter_is_named(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    refused = serve("vllm", "--lora", tmp_path / "notes.txt")
    assert refused.code == 3
    words(refused, "is no LoRA adapter")


def test_llama_cpp_in_a_container_loads_a_gguf_file(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "sql.gguf").write_bytes(b"GGUF" + bytes(20))
    options = ("--container", "--image", "nimctl/llama-cpp:latest", "--lora", tmp_path / "sql.gguf")
    found = serve("llama_cpp", *options, "--json").json
    (launch,) = [step for step in found["steps"] if step["type"] == "LaunchContainer"]
    assert "--lora /adapters/sql.gguf" in " ".join(launch["container"]["command"])
    mounts = {one["target"]: one["source"] for one in launch["container"]["mounts"]}
    assert mounts["/adapters/sql.gguf"] == str(tmp_path / "sql.gguf")
