"""What a user asked for, as values; `cli/` makes them and nothing changes them."""

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import msgspec

from nimctl.core.devices import ANY_GPUS, GpuWish
from nimctl.core.errors import UsageError
from nimctl.core.lock import Lock
from nimctl.core.memory import CapacityWish
from nimctl.core.nim_manifest import NimManifest
from nimctl.core.profile import Wish
from nimctl.core.refs import ModelRef
from nimctl.core.servers import Readiness
from nimctl.core.trtllm.subject import BuildOptions
from nimctl.core.value import Value


class TransferLimits(Value):
    """What was asked of transfers; `max_rate` in bytes a second, `range_bytes` those of a request.

    None leaves it to nimctl.
    """

    connections: int | None = None
    max_rate: int | None = None
    range_bytes: int | None = None


class PullRequest(Value):
    """Bring a model into the store; with `lock`, what that says and nothing else."""

    ref: ModelRef
    wish: Wish = Wish()
    lock: Lock | None = None


class ProfilePullRequest(Value):
    """Bring the files of a profile of a NIM manifest, the best one here unless `wish` names one.

    They are laid out in `cache` and `model_store`, where these are given.
    """

    manifest: NimManifest
    wish: Wish = Wish()
    lock: Lock | None = None
    cache: str | None = None
    model_store: str | None = None


class BuildRequest(Value):
    """Have a model's engine in the store; `calibration` is the path of a file of texts."""

    ref: ModelRef
    wish: Wish = Wish()
    options: BuildOptions = BuildOptions()
    calibration: str | None = None


# What runs nowhere else; llama_cpp does both.
IN_CONTAINERS = ("tensorrt_llm", "vllm", "sglang", "nim", "nemollm")

PullPolicy: TypeAlias = Literal["missing", "always", "never"]


def read_variables(words: Iterable[str], caller: Mapping[str, str]) -> dict[str, str]:
    """Read `-e NAME=VALUE` and `-e NAME`, which takes the caller's value, as `docker run` does.

    Raises:
        UsageError: One has no name, or the caller has no such variable.
    """
    read: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or (not equals and name not in caller):
            raise UsageError(
                f"`--env {word}` names no variable",
                cause=f"{name} is not set here" if name else None,
                hint="--env NAME=VALUE",
            )
        read[name] = value if equals else caller[name]
    return read


class UpdateRequest(Value):
    """Replace the replicas of a router one after another.

    None leaves something as it is; `environment` is added to what they have. `drain_s` is how long
    a replica may take to finish its requests, `timeout_s` how long a new one to be ready, None for
    what its model takes.
    """

    name: str
    image: str | None = None
    profile: str | None = None
    environment: dict[str, str] = {}
    pull: PullPolicy = "missing"
    drain_s: float = 300.0
    timeout_s: float | None = None
    offline: bool = False


class ServeRequest(Value):
    """Run a model.

    `port` 0 takes a free one, None the usual one. None leaves a choice to nimctl; `timeout_s` in
    seconds. `container`
    asks for a container also where the embedded engine would do; so does an `image`. `replicas` is
    None for as many as there are GPUs for; `certificate` is a PEM file with its key.
    `manifest` is a file that is to be read instead of the image's own NIM manifest.
    """

    ref: ModelRef
    wish: Wish = Wish()
    name: str | None = None
    host: str = "127.0.0.1"
    port: int | None = None
    detach: bool = False
    timeout_s: float | None = None
    require_gpu: bool = False
    gpus: GpuWish = ANY_GPUS
    container: bool = False
    image: str | None = None
    manifest: str | None = None
    pull: PullPolicy = "missing"
    wait: Readiness | None = None
    environment: dict[str, str] = {}
    restarts: bool = False
    replicas: int | None = 1
    certificate: str | None = None
    offline: bool = False
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    threads: int | None = None
    api_key_file: str | None = None
    auth: bool = True
    chat_template: str | None = None
    embeddings: bool = False
    lora: tuple[str, ...] = ()
    engine_arguments: tuple[str, ...] = ()

    @property
    def choice(self) -> Wish:
        """What narrows the choice of a profile: adapters, and how many GPUs one server is to use.

        Replicas share those that were asked for.
        """
        gpus = self.gpus.count if self.replicas == 1 else None
        lora = self.wish.lora or bool(self.lora)
        return msgspec.structs.replace(self.wish, lora=lora, gpus=gpus or None)

    @property
    def outer_choice(self) -> Wish:
        """What narrows the catalogue's profiles; with `--backend nim` the rest is for the NIM."""
        return Wish(backend="nim") if self.wish.backend == "nim" else self.choice

    @property
    def wants_container(self) -> bool:
        """Whether a container was asked for, by whatever words."""
        asked = self.container or self.image is not None or self.replicas != 1
        return asked or self.certificate is not None or self.wish.backend in IN_CONTAINERS

    @property
    def may_pull(self) -> bool:
        """Whether an image may be brought from its registry."""
        return self.pull != "never" and not self.offline

    @property
    def capacity(self) -> CapacityWish:
        """The capacity that was asked for."""
        return CapacityWish(max_model_len=self.max_model_len, max_num_seqs=self.max_num_seqs)
