"""The early-access container of 2024, as NVIDIA's getting-started text ran it.

docker run --gpus all --shm-size 1G -v $(pwd)/model-store:/model-store --net=host
  nvcr.io/ohlfw0olaadg/ea-participants/nemollm-inference-ms:24.01
  nemollm_inference_ms --model llama-2-7b --num_gpus=1

Source: NVIDIA's blog and deployments of March 2024 (the container is not offered any more).
"""

from nimctl.core.serving.backends import BACKENDS
from nimctl.core.serving.part import Part, mounted
from nimctl.core.serving.serving import Serving

MODEL_STORE = "/model-store"


def part(serving: Serving) -> Part:
    """The command line of nemollm_inference_ms; its OpenAI port is the one that is asked for.

    On the host's network it listens on every address, beside its router, and it is not offline:
    for these it has a network of its own.
    """
    gpus = serving.profile.tp * serving.profile.pp
    on_host = serving.network == "bridge" and not serving.is_routed
    # Another port than the text's has to be said; with the same one the line is NVIDIA's own.
    is_said = on_host and serving.port != BACKENDS["nemollm"].port
    port = (f"--openai_port={serving.port}",) if is_said else ()
    return Part(
        command=("nemollm_inference_ms", "--model", serving.model, f"--num_gpus={gpus}", *port),
        mounts=mounted((serving.checkpoint, MODEL_STORE)),
        network="host" if on_host else None,
        shm_bytes=2**30,
    )
