"""The servers whose containers are kept as golden files; run it to write them anew.

The hosts are kinds of hosts: what differs for a container is which GPUs it gets and how, and as
whom it runs.
"""

from pathlib import Path

import msgspec

from nimctl.core.catalogue import Nim
from nimctl.core.containers import ContainerSpec, Devices
from nimctl.core.memory import CapacityWish
from nimctl.core.profile import Profile
from nimctl.core.serving import Adapter, Serving, container

DIRECTORY = Path(__file__).parent.parent / "data" / "containers"
STORE = "/srv/nimctl/model-store/llama-3.1-8b-instruct/p"
HOSTS: dict[str, Devices | None] = {
    "h100": Devices(uuids=("GPU-00000000-0000-0000-0000-000000000001",)),
    "a100x2-cdi": Devices(uuids=("GPU-a", "GPU-b"), method="cdi"),
    "mig": Devices(uuids=("MIG-00000000-0000-0000-0000-000000000002",)),
    "no-gpu": None,
}
BIONEMO = Nim(
    image="nvcr.io/nim/mit/diffdock:2.2.0",
    source="https://build.nvidia.com/mit/diffdock/docker",
    ports={"http": 8000, "grpc": 8001},
    shm_gib=2,
    ulimits={"memlock": -1, "stack": 67108864},
    environment={"NVIDIA_VISIBLE_DEVICES": "0"},
)


def servings() -> dict[str, Serving]:
    """Every backend on every kind of host that it runs on, and what can be added to it."""
    found: dict[str, Serving] = {}
    for host, devices in HOSTS.items():
        count = len(devices.uuids) if devices else 1
        for backend, image in (
            ("tensorrt_llm", "nvcr.io/nvidia/tensorrt-llm/release:1.2.1"),
            ("vllm", "vllm/vllm-openai:latest"),
            ("sglang", "lmsysorg/sglang:latest"),
            ("nim", "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.8.6"),
            ("nemollm", "nvcr.io/ohlfw0olaadg/ea-participants/nemollm-inference-ms:24.01"),
            ("llama_cpp", "nimctl/llama-cpp:latest"),
        ):
            if (devices is None) == (backend == "llama_cpp"):
                profile = Profile(backend=backend, precision="fp16", tp=count)
                found[f"{backend}-{host}"] = _serving(profile, image, devices)
    one = found["vllm-h100"]
    replace = msgspec.structs.replace
    engine = f"{STORE}/trtllm_engine"
    found["tensorrt_llm-engine-a100x2-cdi"] = replace(
        found["tensorrt_llm-a100x2-cdi"], engine=engine
    )
    found["tensorrt_llm-options-h100"] = replace(
        found["tensorrt_llm-h100"], options_file="/srv/nimctl/options.yaml"
    )
    lora = (Adapter(name="sql", directory="/srv/lora/sql", rank=12),)
    for name in ("vllm-h100", "sglang-h100", "nim-h100"):
        found[f"{name}-lora"] = replace(found[name], adapters=lora)
    found["vllm-everything"] = replace(
        one,
        capacity=CapacityWish(max_model_len=8192, max_num_seqs=64),
        chat_template="/srv/chat.jinja",
        environment={"VLLM_LOGGING_LEVEL": "DEBUG"},
        arguments=("--enable-prefix-caching",),
        restarts=True,
    )
    found["nim-download-h100"] = replace(
        found["nim-h100"],
        downloads=True,
        key_file="/home/me/.config/nimctl/ngc-key",
        nim_profile="8b" * 32,
    )
    found["nim-diffdock-h100"] = replace(
        found["nim-h100"], model="diffdock", image=BIONEMO.image, nim=BIONEMO
    )
    found["llama_cpp-keys"] = replace(
        found["llama_cpp-no-gpu"], api_key_file="/srv/nimctl/servers/s/api-key"
    )
    return found


def _serving(profile: Profile, image: str, devices: Devices | None) -> Serving:
    early = profile.backend == "nemollm"
    gguf = f"{STORE}/llama_cpp_engine/model.gguf" if profile.backend == "llama_cpp" else None
    is_nim = profile.backend == "nim"
    return Serving(
        name="server",
        model="llama-2-7b" if early else "llama-3.1-8b-instruct",
        profile=profile,
        image=image,
        port=9999 if early else 8000,
        checkpoint=f"{STORE}/model-store" if early else None if is_nim else STORE,
        engine=gguf,
        cache="/srv/nim-cache" if is_nim else None,
        devices=devices,
    )


def path_of(name: str) -> Path:
    """Where a golden file lies."""
    return DIRECTORY / f"{name}.json"


def text_of(spec: ContainerSpec) -> str:
    """A container as it is kept, without what is as ever."""
    return msgspec.json.format(msgspec.json.encode(spec), indent=1).decode() + "\n"


if __name__ == "__main__":
    DIRECTORY.mkdir(exist_ok=True)
    for stale in DIRECTORY.glob("*.json"):
        stale.unlink()
    for name, serving in servings().items():
        path_of(name).write_text(text_of(container(serving)))
