"""The backends that run in containers, as a table."""

from nimctl.core.value import Value


class Backend(Value):
    """How one backend's image behaves.

    `image` is None where the model names its own. `port` is where it answers inside; ready is HTTP
    200 on `health_path`. With `on_host` it is on the host's network. `checks_keys` tells that it
    reads an API key file itself; the router checks keys for the others. `runs_as_user` and
    `read_only_root` tell what the image allows. `source` is where these facts stand; `unverified`
    names those that no source confirms.
    """

    name: str
    image: str | None
    port: int
    health_path: str
    metrics_path: str | None
    source: str
    checks_keys: bool = False
    on_host: bool = False
    runs_as_user: bool = True
    read_only_root: bool = False
    unverified: tuple[str, ...] = ()


# The root file system stays writable where GPUs are handed over: nvidia-cdi-hook and
# nvidia-container-cli write the driver's libraries and ld.so.cache into it
# (https://github.com/kserve/kserve, config/llmisvcconfig).
BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend(
            name="tensorrt_llm",
            # The last stable release that builds and serves engines: 1.3.0rc21 removed both.
            image="nvcr.io/nvidia/tensorrt-llm/release:1.2.1",
            port=8000,
            health_path="/health",
            # Its /metrics is JSON of its own; Prometheus reads this one, says
            # kubernetes-sigs/gateway-api-inference-extension, docs/proposals/003.
            metrics_path="/prometheus/metrics",
            source="https://nvidia.github.io/TensorRT-LLM/commands/trtllm-serve.html",
            unverified=("runs_as_user", "metrics_path"),
        ),
        Backend(
            name="vllm",
            image="vllm/vllm-openai:latest",
            port=8000,
            health_path="/health",
            metrics_path="/metrics",
            # Any user since https://github.com/vllm-project/vllm/pull/40275, given HOME and USER.
            source="https://docs.vllm.ai/en/latest/deployment/docker.html",
        ),
        Backend(
            name="sglang",
            image="lmsysorg/sglang:latest",
            port=30000,
            health_path="/health",
            metrics_path="/metrics",
            source="https://docs.sglang.io/advanced_features/server_arguments.html",
            unverified=("runs_as_user",),
        ),
        Backend(
            name="nim",
            image=None,
            port=8000,
            health_path="/v1/health/ready",
            metrics_path="/v1/metrics",
            source="https://docs.nvidia.com/nim/large-language-models/latest/getting-started.html",
        ),
        Backend(
            name="nemollm",
            image=None,
            port=9999,
            # It says ready on a port of its own, 8080 or 9997 by release; the OpenAI port answers
            # when the models are loaded.
            health_path="/v1/models",
            metrics_path=None,
            on_host=True,
            source="https://developer.nvidia.com/docs/nemo-microservices/inference/overview.html",
            # NVIDIA's run line of 2024 names no user.
            runs_as_user=False,
            unverified=("health_path",),
        ),
        Backend(
            name="llama_cpp",
            image="nimctl/llama-cpp:latest",
            port=8000,
            health_path="/health",
            metrics_path="/metrics",
            source="tools/cpu_image/README.md",
            checks_keys=True,
            read_only_root=True,
        ),
    )
}
