"""Failures that are known are explained from the log, with what to do."""

import pytest

from nimctl.core.trtllm.diagnosis import explain_build, explain_load
from nimctl.core.trtllm.log import stage_of

# The texts are from the issues that `diagnosis` names, and from the sources of TensorRT-LLM 1.x.
LOADS = [
    (
        (
            "[TRT] [E] IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error (The "
            "engine plan file is generated on an incompatible device, expecting compute 9.0 got "
            "compute 8.9, please rebuild.)"
        ),
        "built for compute capability 9.0, this GPU has 8.9",
    ),
    (
        (
            "[TRT] [E] IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization "
            "assertion stdVersionRead == kSERIALIZATION_VERSION failed.Version tag does not match. "
            "Note: Current Version: 228, Serialized Engine Version: 237)"
        ),
        "another TensorRT (serialisation 237, this has 228)",
    ),
    (
        "[TensorRT-LLM][ERROR] Assertion failed: Expected length != real length",
        "another version of TensorRT-LLM",
    ),
    ("ValueError: No GPU devices found on the node", "the server saw no GPU"),
]
BUILDS = [
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.96 GiB.", "GPU's memory"),
    (
        (
            "[TRT] [E] Error Code 2: OutOfMemory (Requested amount of GPU memory "
            "(8589934592 bytes) could not be allocated."
        ),
        "GPU's memory",
    ),
    ("OSError: [Errno 28] No space left on device", "the disk is full"),
    ("AssertionError: Unsupported model architecture: FooForCausalLM", "no engine of FooFor"),
    ("trtllm-build: error: unrecognized arguments: --use_inflight_batching", "--use_inflight"),
    ("CUDA driver version is insufficient for CUDA runtime version", "driver is too old"),
    ("  what():  FP8 FMHA cannot be enabled except on Ada or Hopper", "no such kernel"),
    ("KeyError: 'text'", "no field `text`"),
    ("NotImplementedError: Unsupported dataset name or local repo directory: x.", "network"),
    ("ModuleNotFoundError: No module named 'modelopt'", "no ModelOpt"),
    ("OSError: GPU is required for inference.", "saw no GPU"),
    ("Bus error (core dumped)", "shared memory"),
    ("/bin/sh: line 1:    17 Killed", "host's memory"),
    ("PermissionError: [Errno 13] Permission denied: '/engine/config.json'", "/engine/config"),
    (
        (
            "ValueError: The checkpoint you are trying to load has model type `qwen3_5` but "
            "Transformers does not recognize this architecture."
        ),
        "older than the model",
    ),
]


@pytest.mark.parametrize(("line", "words"), LOADS)
def test_an_engine_that_does_not_load_is_explained(line: str, words: str) -> None:
    found = explain_load(["[I] loading", line, "Traceback (most recent call last):"], "llama")
    assert found is not None
    assert words in (found.cause or "")
    assert found.hint
    assert found.lines == (line,)


def test_a_log_without_a_known_failure_explains_nothing() -> None:
    assert explain_load(["INFO: Application startup complete."], "llama") is None


@pytest.mark.parametrize(("line", "words"), BUILDS)
def test_a_failed_build_is_explained(line: str, words: str) -> None:
    found = explain_build(["[I] started", line, "[I] cleaning up"], "llama", exit_code=1)
    assert words in (found.cause or "")
    assert found.hint
    assert "{" not in found.hint.replace('{"text"', "")


def test_a_builder_that_was_killed_ran_out_of_host_memory() -> None:
    for ended in ({"exit_code": 137}, {"exit_code": 1, "oom_killed": True}):
        found = explain_build(["[I] loading"], "llama", **ended)  # type: ignore[arg-type]
        assert "host's memory" in (found.cause or "")


def test_an_unknown_failure_shows_the_lines_that_name_an_error() -> None:
    log = ["[I] one", "[TRT] [E] something new", "[I] two", "RuntimeError: odd", "bye"]
    found = explain_build(log, "llama", exit_code=1)
    assert found.cause is None
    assert found.lines == ("[TRT] [E] something new", "RuntimeError: odd")


def test_a_silent_failure_shows_its_last_lines() -> None:
    found = explain_build([f"line {n}" for n in range(9)], "llama", exit_code=3)
    assert found.lines == ("line 4", "line 5", "line 6", "line 7", "line 8")


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        ("Loading checkpoint shards:  25%|██  | 1/4", "loading the checkpoint: 25 %"),
        ("[TRT-LLM] [I] Quantization done. Total time used: 122.60 s.", "quantised in 122.60 s"),
        ("Total time of converting checkpoints: 00:02:00", "converted in 00:02:00"),
        ("[TRT-LLM] [I] Serializing engine to /engine/rank1.engine...", "writing rank1"),
        ("[TRT-LLM] [I] Total time of building all engines: 00:00:53", "built in 00:00:53"),
        ("[TRT-LLM] [I] Set gemm_plugin to auto.", None),
    ],
)
def test_the_log_tells_how_far_a_build_is(line: str, stage: str | None) -> None:
    assert stage_of(line) == stage
