"""A server that starts: phases from its log, and why it fails."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimctl.core.containers import ContainerState
from nimctl.core.errors import DeadlineError, HardwareError, ServerDiedError
from nimctl.core.servers import Server
from nimctl.core.starting import failure_of, hopeless, phase_of, too_late

SERVER = Server(
    name="llama",
    model="llama-3.1-8b-instruct",
    reference="llama-3.1-8b-instruct",
    profile="p",
    backend="vllm",
    url="http://127.0.0.1:8000",
)
TOO_LONG = (
    "ValueError: To serve at least one request with the models's max seq len (131072), (34.00 GiB "
    "KV cache is needed, which is larger than the available KV cache memory (21.50 GiB). Based on "
    "the available memory, the estimated maximum model length is 82944."
)
CROWDED = (
    "ValueError: Free memory on device cuda:0 (34.34/121.63 GiB) on startup is less than desired "
    "GPU memory utilization (0.8, 97.3 GiB)"
)
OTHER_GPU = (
    "The engine plan file is generated on an incompatible device, expecting compute 9.0 got "
    "compute 8.9, please rebuild."
)
RUNNING = ContainerState(status="running")


# The lines are of public logs; see the sources in the module.
@pytest.mark.parametrize(
    ("backend", "line", "phase"),
    [
        ("vllm", "INFO 06-21 [gpu_model_runner.py] Starting to load model /models/m...", "weights"),
        (
            "vllm",
            "Loading safetensors checkpoint shards:  54% Completed | 20/37 [01:27]",
            "weights",
        ),
        ("vllm", "INFO [default_loader.py:397] Loading weights took 180.25 seconds", "engine"),
        ("vllm", "INFO [monitor.py:53] torch.compile took 25.99 s in total", "engine"),
        ("vllm", "Capturing CUDA graphs (decode, FULL): 100%|####| 1/1", "warm-up"),
        ("sglang", "[2025-08-01 TP0] Load weight begin. avail mem=78.50 GB", "weights"),
        ("sglang", "TP0] KV Cache is allocated. #tokens: 383872, KV size: 19.36 GB", "engine"),
        ("sglang", "Capturing batches (bs=128 avail_mem=74.76 GB):   5%|", "warm-up"),
        ("tensorrt_llm", "[TRT] [I] Loaded engine size: 15320 MiB", "engine"),
        ("tensorrt_llm", "[TRT-LLM] [I] [Autotuner] Autotuning process starts ...", "warm-up"),
        ("nim", "ngc_injector.py:166] Preparing model workspace. This step might", "download"),
        ("nim", "Model workspace is now ready. It took 46.358 seconds", "weights"),
        ("nim", "[TRT] [I] Loaded engine size: 15320 MiB", "engine"),
        ("llama_cpp", "llama_model_loader: loaded meta data with 30 key-value pairs", "weights"),
        ("llama_cpp", "common_init: warming up the model with an empty run", "warm-up"),
        ("vllm", "INFO: 127.0.0.1:5000 - GET /health 200 OK", None),
        ("unheard-of", "Loading weights", None),
    ],
)
def test_a_line_tells_the_phase(backend: str, line: str, phase: str | None) -> None:
    assert phase_of(backend, line) == phase


@given(st.sampled_from(["vllm", "sglang", "nim", "tensorrt_llm", "x"]), st.text())
def test_no_line_is_too_odd(backend: str, line: str) -> None:
    phase_of(backend, line)
    hopeless(SERVER, (line,))


@pytest.mark.parametrize(
    "state",
    [
        RUNNING,
        ContainerState(status="created"),
        ContainerState(status="running", health="starting"),
        ContainerState(status="paused"),
    ],
)
def test_what_still_starts_has_not_failed(state: ContainerState) -> None:
    assert failure_of(SERVER, state, ("ERROR: not yet",)) is None


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (ContainerState(status="exited"), r"ended before it was ready \(exit status 0\)"),
        (ContainerState(status="exited", exit_code=3), r"\(exit status 3\)"),
        (ContainerState(status="exited", exit_code=127), "cannot be run or is not in the image"),
        (ContainerState(status="exited", exit_code=137), "killed for want of memory, or by"),
        (ContainerState(status="exited", exit_code=139), "which is signal 11"),
        (ContainerState(status="dead", exit_code=1), "exit status 1"),
        (
            ContainerState(status="exited", exit_code=137, oom_killed=True),
            "more memory than it may",
        ),
        (ContainerState(status="running", oom_killed=True), "lost a process"),
        (ContainerState(status="running", restarts=2, exit_code=1), "was started again"),
        (ContainerState(status="restarting", exit_code=1), "was started again"),
        (
            ContainerState(status="running", health="unhealthy"),
            "unhealthy by its image's own check",
        ),
        (None, "was removed"),
    ],
)
def test_every_end_before_ready_is_a_failure(state: ContainerState | None, message: str) -> None:
    failure = failure_of(SERVER, state, ("loading", "KeyError: 'lm_head'", "bye"))
    assert isinstance(failure, ServerDiedError)
    with pytest.raises(ServerDiedError, match=message):
        raise failure
    if state:
        assert failure.cause == "KeyError: 'lm_head'"
        assert "nimctl logs llama" in (failure.hint or "")


def test_without_a_telling_line_the_last_ones_are_shown() -> None:
    state = ContainerState(status="exited")
    failure = failure_of(SERVER, state, tuple(f"line {number}" for number in range(20)))
    assert failure
    assert failure.cause == "\n  ".join(f"line {number}" for number in range(15, 20))
    silent = failure_of(SERVER, state, ())
    assert silent
    assert silent.cause is None


def test_a_foreign_program_is_the_machines_matter() -> None:
    lines = ("exec /opt/nim/start-server.sh: exec format error",)
    failure = failure_of(SERVER, ContainerState(status="exited", exit_code=1), lines)
    assert isinstance(failure, HardwareError)
    assert "another architecture" in failure.message


@pytest.mark.parametrize(
    ("line", "cause", "hint"),
    [
        (
            TOO_LONG,
            "does not hold one sequence of 131072 tokens; 82944 would fit",
            "--max-model-len 82944",
        ),
        (
            "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.",
            "does not hold the weights",
            "--max-model-len",
        ),
        (CROWDED, "another process uses the GPU's memory", "nvidia-smi"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried", "memory ran out", "precision"),
        (
            OTHER_GPU,
            "built for compute capability 9.0, this GPU has 8.9",
            "nimctl build-engine llama-3.1-8b-instruct",
        ),
        (
            "Could not find a profile that is currently runnable with the detected hardware.",
            "finds no profile",
            "nimctl list-profiles llama-3.1-8b-instruct",
        ),
        ("[2025 TP0] Scheduler hit an exception: Traceback", "engine inside", "nimctl logs llama"),
    ],
)
def test_known_failures_are_explained_and_end_the_wait(line: str, cause: str, hint: str) -> None:
    assert hopeless(SERVER, ("before", line, "after"))
    failure = failure_of(SERVER, ContainerState(status="exited", exit_code=1), (line,))
    assert failure
    assert cause in (failure.cause or "")
    assert line.strip() in (failure.cause or "")
    assert hint in (failure.hint or "")


@pytest.mark.parametrize(
    "line", ["usage: vllm ... unrecognized arguments: --foo", "OSError: Address already in use"]
)
def test_other_failures_are_explained_once_it_has_ended(line: str) -> None:
    assert hopeless(SERVER, (line,)) is None
    failure = failure_of(SERVER, ContainerState(status="exited", exit_code=2), (line,))
    assert failure
    assert (failure.cause or "").splitlines()[1:] == [f"  {line}"]


def test_too_late_says_the_last_words() -> None:
    failure = too_late(SERVER, 61, ("loading", "still loading"))
    assert isinstance(failure, DeadlineError)
    assert "within 61 seconds" in failure.message
    assert failure.cause == "loading\n  still loading"
